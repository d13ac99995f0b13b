using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>How far a run is.</summary>
/// <param name="Share">0 to 1, by values.</param>
/// <param name="Tensor">The tensor that is being made.</param>
public readonly record struct QuantizationProgress(double Share, string Tensor);

/// <summary>What a run did.</summary>
/// <param name="Plan">The formats.</param>
/// <param name="Resumed">Tensors that an earlier run had finished.</param>
/// <param name="Unweighted">Tensors that were rounded without importances though there is an importance matrix.</param>
/// <param name="Nearest">Tensors that were rounded to nearest since their method needs activations and none were seen.</param>
/// <param name="FileBytes">Bytes of the new file.</param>
public sealed record QuantizationResult(QuantizationPlan Plan, int Resumed, IReadOnlyList<string> Unweighted, IReadOnlyList<string> Nearest, long FileBytes);

/// <summary>
/// Writes a model by a plan, tensor by tensor in the order of layers, so that a method's statistics are needed for one layer at a time; an output matrix that needs some, too, is made last, wherever it stands in the file. What is written lies in <c>OUT.partial</c> with a journal, <c>OUT.partial.json</c>, until all is there; a run that was stopped is
/// taken up by the next one of the same job, and ends in the same bytes.
/// </summary>
public sealed class ModelQuantizer
{
    /// <summary>The version of the blocks that <c>general.quantization_version</c> tells (<c>GGML_QNT_VERSION</c> of ggml.h, llama.cpp v0.5.0).</summary>
    public const uint QuantizationVersion = 2;

    // Keys of what the new file is not: split, made with the old file's importances, encoded.
    private static readonly string[] s_dropped = ["split.", "quantize.imatrix.", EncodedTensors.VersionKey, EncodedTensors.KeyPrefix];

    private readonly GgufFile _file;
    private readonly QuantizationPlan _plan;
    private readonly ImportanceMatrix? _importance;
    private readonly string? _importanceName;

    /// <summary>Prepares a run.</summary>
    /// <param name="file">The model; it stays open.</param>
    /// <param name="plan">What its tensors become.</param>
    /// <param name="importance">E[x^2] of columns, or null.</param>
    /// <param name="importanceName">The name of the importance matrix's file, which the new file tells.</param>
    public ModelQuantizer(GgufFile file, QuantizationPlan plan, ImportanceMatrix? importance, string? importanceName)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(plan);
        _file = file;
        _plan = plan;
        _importance = importance;
        _importanceName = importanceName;
    }

    /// <summary>Threads; 0 for those of <see cref="Work.Threads"/>. What <see cref="Statistics"/> computes is bounded, too, where it is done by this library.</summary>
    public int Threads { get; init; }

    /// <summary>See <see cref="TensorMaker.SliceValues"/>.</summary>
    internal int SliceValues { get; init; } = TensorMaker.UsualSliceValues;

    /// <summary>Where methods get the statistics of layers from; null where <see cref="QuantizationPlan.Needs"/> is. It stays open.</summary>
    public IStatisticsSource? Statistics { get; init; }

    /// <summary>Writes the file.</summary>
    /// <param name="path">The file; an existing one is replaced at the end.</param>
    /// <param name="progress">Told how far it is, or null.</param>
    /// <param name="cancellation">Stops the run, which leaves what is finished for the next one.</param>
    /// <returns>What was done.</returns>
    /// <exception cref="QuantizationException">A tensor cannot be encoded, or needs importances that are not there. What was written is removed.</exception>
    /// <exception cref="ArgumentException">The importance matrix is of another model, or the metadata cannot be written.</exception>
    /// <exception cref="IOException">The file cannot be written; what is finished stays for the next run.</exception>
    /// <exception cref="OperationCanceledException">The run was stopped; what is finished stays for the next one.</exception>
    public QuantizationResult Write(string path, IProgress<QuantizationProgress>? progress, CancellationToken cancellation)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (_plan.Needs is { } needs && Statistics is null) throw new InvalidOperationException($"The plan needs statistics of activations ({needs}); set {nameof(Statistics)}.");
        if (_plan.SeeksOutliers) throw new InvalidOperationException($"The plan does not know which columns are stored apart; {nameof(OutlierSearch)}.{nameof(OutlierSearch.Run)} finds them.");
        using IDisposable limit = Work.Limit(Threads);
        List<string> unweighted = CheckImportances();
        Dictionary<PlannedTensor, TensorEncoding> encodings = new(ReferenceEqualityComparer.Instance);
        foreach (PlannedTensor tensor in _plan.Tensors)
            if (tensor.Describe() is { } encoding) encodings.Add(tensor, encoding);
        TensorMaker maker = new(_file, _plan, _importance, Statistics) { SliceValues = SliceValues };
        string partial = path + ".partial", journalPath = partial + ".json";
        int resumed;
        long bytes;
        try
        {
            using (QuantizationJournal journal = QuantizationJournal.Open(journalPath, Job(encodings), out Dictionary<string, (string Input, string Output)> finished))
            using (FileStream output = new(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0))
            {
                using FileStream earlier = new(partial, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
                GgufWriter writer = Writer(encodings);
                Run run = new(_plan, maker, journal, finished, earlier, progress, cancellation);
                foreach (PlannedTensor tensor in _plan.Tensors)
                    run.Add(writer, tensor, encodings.GetValueOrDefault(tensor));
                writer.Write(output);
                bytes = output.Position;
                output.SetLength(bytes);
                resumed = run.Resumed;
            }

            File.Move(partial, path, overwrite: true);
            File.Delete(journalPath);
        }
        catch (Exception error) when (error is not (OperationCanceledException or IOException))
        {
            File.Delete(partial);
            File.Delete(journalPath);
            throw;
        }

        return new QuantizationResult(_plan, resumed, unweighted, maker.Nearest, bytes);
    }

    /// <summary>Bytes of the file that <see cref="Write"/> makes.</summary>
    /// <exception cref="ArgumentException">The metadata cannot be written.</exception>
    public long FileBytes
    {
        get
        {
            Dictionary<PlannedTensor, TensorEncoding> encodings = new(ReferenceEqualityComparer.Instance);
            foreach (PlannedTensor tensor in _plan.Tensors)
                if (tensor.Describe() is { } described) encodings.Add(tensor, described);
            GgufWriter writer = Writer(encodings);
            foreach (PlannedTensor tensor in _plan.Tensors)
            {
                if (encodings.TryGetValue(tensor, out TensorEncoding? encoding))
                    foreach (EncodedPartShape part in encoding.Parts()) writer.AddTensor(EncodedTensors.PartName(encoding.Name, part.Part), part.Format, part.Dimensions, _ => { });
                else writer.AddTensor(tensor.Source.Name, tensor.Format!, tensor.Source.Dimensions.AsSpan(), _ => { });
            }

            return writer.FileBytes;
        }
    }

    // Metadata in llama-quantize's order: what the input has, then what it sets anew.
    private GgufWriter Writer(Dictionary<PlannedTensor, TensorEncoding> encodings)
    {
        GgufWriter writer = new();
        foreach (GgufEntry entry in _file.Metadata)
            if (!s_dropped.Any(prefix => entry.Key.StartsWith(prefix, StringComparison.Ordinal))) writer.Set(entry.Key, entry.Value);
        SetLast(writer, "general.quantization_version", QuantizationVersion);
        if (_plan.Type is { } type) SetLast(writer, "general.file_type", type.Number);
        else writer.Remove("general.file_type");
        if (encodings.Count > 0) writer.Set(EncodedTensors.VersionKey, EncodedTensors.Version);
        foreach (TensorEncoding encoding in _plan.Tensors.Select(encodings.GetValueOrDefault).OfType<TensorEncoding>())
            writer.Set(EncodedTensors.KeyPrefix + encoding.Name, encoding.ToText());
        if (_importance is null) return writer;
        writer.Set("quantize.imatrix.file", _importanceName ?? string.Empty);
        if (_importance.Datasets.Count > 0) writer.Set("quantize.imatrix.dataset", _importance.Datasets[0]);
        writer.Set("quantize.imatrix.entries_count", (uint)_importance.Entries.Count);
        if (_importance.ChunkCount > 0) writer.Set("quantize.imatrix.chunks_count", (uint)_importance.ChunkCount);
        return writer;
    }

    private static void SetLast(GgufWriter writer, string key, uint value)
    {
        writer.Remove(key);
        writer.Set(key, value);
    }

    // Everything that the bytes of the output depend on, but the input's tensors.
    private string Job(Dictionary<PlannedTensor, TensorEncoding> encodings)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using QuantizationJournal.HashStream stream = new(hash);
        GgufWriter writer = Writer(encodings);
        writer.Write(stream);
        foreach (PlannedTensor tensor in _plan.Tensors)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{tensor.Source} -> {tensor.Target} {(tensor.IsKept ? string.Empty : tensor.Method.Identity)} "));
            if (tensor.Outliers is { } outliers) hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(outliers.ToArray().AsSpan()));
            if (_importance?.Means(tensor.Source) is { } means) hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(means.AsSpan()));
        }

        if (_plan.Needs is { } needs) hash.AppendData(Encoding.UTF8.GetBytes($"\n{_plan.Transform} {needs} {Statistics!.Identity}"));
        return $"{typeof(ModelQuantizer).Assembly.GetName().Version} {Convert.ToHexString(hash.GetHashAndReset())}";
    }

    private List<string> CheckImportances()
    {
        List<string> missing = [];
        foreach (PlannedTensor tensor in _plan.Tensors)
        {
            if (tensor.IsKept || tensor.Format is not { BlockValues: > 1 } || tensor.Method is not RoundToNearest || _importance?.Means(tensor.Source) is not null) continue;
            missing.Add(tensor.Source.Name);
            if (_plan.Type?.Name == "Q2_K_S" && tensor.Format == BlockFormats.Q2_K && TensorNames.Role(tensor.Source.Name) is not (TensorRole.Embedding or TensorRole.Output))
                throw new QuantizationException($"tensor '{tensor.Source.Name}' becomes Q2_K, and in Q2_K_S that needs importances of its columns. Give a matrix that has them with --importance, or take Q2_K.");
        }

        return _importance is null ? [] : missing;
    }

    /// <summary>One way through the tensors: what an earlier run finished is copied, the rest is made.</summary>
    private sealed class Run(
        QuantizationPlan plan, TensorMaker maker, QuantizationJournal journal, Dictionary<string, (string Input, string Output)> finished, FileStream earlier, IProgress<QuantizationProgress>? progress, CancellationToken cancellation)
    {
        private readonly double _values = plan.ValueCount;
        private long _done;

        // Of the tensor whose parts are being written: the hash of its input, and its parts once they had to be made.
        private string _input = string.Empty;
        private Dictionary<EncodedPart, byte[]>? _made;
        private bool _isResumed;

        /// <summary>Tensors of which nothing had to be made.</summary>
        public int Resumed { get; private set; }

        /// <summary>Adds a tensor's parts to the file that is about to be written.</summary>
        public void Add(GgufWriter writer, PlannedTensor tensor, TensorEncoding? encoding)
        {
            if (encoding is null)
            {
                Add(writer, tensor, null, new(EncodedPart.Codes, tensor.Format!, 0), tensor.Source.Name, tensor.Source.Dimensions.AsSpan(), isFirst: true, isLast: true);
                return;
            }

            IReadOnlyList<EncodedPartShape> parts = encoding.Parts();
            foreach (EncodedPartShape part in parts)
                Add(writer, tensor, encoding, part, EncodedTensors.PartName(encoding.Name, part.Part), part.Dimensions, part == parts[0], part == parts[^1]);
        }

        private void Add(GgufWriter writer, PlannedTensor tensor, TensorEncoding? encoding, EncodedPartShape part, string name, ReadOnlySpan<long> dimensions, bool isFirst, bool isLast)
        {
            long length = encoding is null ? tensor.ByteLength : part.ByteLength;
            writer.AddTensor(name, part.Format, dimensions, stream =>
            {
                cancellation.ThrowIfCancellationRequested();
                if (isFirst) (_input, _made, _isResumed) = (QuantizationJournal.Hash(tensor.Source), null, true);
                if (finished.TryGetValue(name, out (string Input, string Output) hashes) && hashes.Input == _input && TryCopy(earlier, stream.Position, length, hashes.Output, stream))
                {
                    journal.Finish(name, _input, hashes.Output);
                }
                else
                {
                    _isResumed = false;
                    using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                    using QuantizationJournal.HashStream hashed = new(hash, stream);
                    if (TensorMaker.IsStreamed(tensor)) maker.Stream(tensor, hashed, Told, cancellation);
                    else hashed.Write((_made ??= Make(tensor, encoding))[part.Part]);
                    stream.Flush();
                    journal.Finish(name, _input, Convert.ToHexString(hash.GetHashAndReset()));
                }

                if (!isLast) return;
                _made = null;
                if (_isResumed) Resumed++;
                _done += tensor.ValueCount;
                Told(0);
            }, tensor.IsBehindLayers ? 1 : 0);

            void Told(long rows) => progress?.Report(new((_done + (rows * tensor.Source.Columns)) / _values, tensor.Source.Name));
        }

        private Dictionary<EncodedPart, byte[]> Make(PlannedTensor tensor, TensorEncoding? encoding)
        {
            progress?.Report(new(_done / _values, tensor.Source.Name));
            Dictionary<EncodedPart, byte[]> made = maker.Make(tensor, encoding, rows => progress?.Report(new((_done + (rows * tensor.Source.Columns)) / _values, tensor.Source.Name)), cancellation);
            if (encoding is null) return made;
            EncodedData data = new();
            foreach ((EncodedPart part, byte[] bytes) in made) data.Set(part, bytes);
            _ = new EncodedTensor(encoding, data); // checks that the parts are those of the description
            return made;
        }

        private static bool TryCopy(FileStream earlier, long start, long length, string expected, Stream stream)
        {
            if (earlier.Length < start + length) return false;
            byte[] buffer = new byte[1 << 20];
            using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            for (long at = 0; at < length;)
            {
                int read = RandomAccess.Read(earlier.SafeFileHandle, buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at)), start + at);
                if (read == 0) return false;
                hash.AppendData(buffer, 0, read);
                at += read;
            }

            if (Convert.ToHexString(hash.GetHashAndReset()) != expected) return false;

            // The same bytes go to the same place; the file is not cut off, so that what was made stays if this run is stopped too.
            for (long at = 0; at < length;)
            {
                int read = RandomAccess.Read(earlier.SafeFileHandle, buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - at)), start + at);
                stream.Write(buffer, 0, read);
                at += read;
            }

            return true;
        }
    }
}
