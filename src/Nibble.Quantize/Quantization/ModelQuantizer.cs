using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Quantization;

/// <summary>How far a run is.</summary>
/// <param name="Share">0 to 1, by values.</param>
/// <param name="Tensor">The tensor that is being made.</param>
public readonly record struct QuantizationProgress(double Share, string Tensor);

/// <summary>What a run did.</summary>
/// <param name="Plan">The formats.</param>
/// <param name="Resumed">Tensors that an earlier run had finished.</param>
/// <param name="Unweighted">Tensors that were rounded without importances though there is an importance matrix.</param>
/// <param name="FileBytes">Bytes of the new file.</param>
public sealed record QuantizationResult(QuantizationPlan Plan, int Resumed, IReadOnlyList<string> Unweighted, long FileBytes);

/// <summary>
/// Writes a model with tensors in other formats: row by row, on all cores. What is written lies in <c>OUT.partial</c> with a journal, <c>OUT.partial.json</c>, until all is there; a run that was stopped is
/// taken up by the next one of the same job, and ends in the same bytes.
/// </summary>
public sealed class ModelQuantizer
{
    /// <summary>The version of the blocks that <c>general.quantization_version</c> tells (<c>GGML_QNT_VERSION</c> of ggml.h, llama.cpp v0.5.0).</summary>
    public const uint QuantizationVersion = 2;

    // Output that is made before it is written, and what a thread takes of it at a time.
    private const int SlabBytes = 16 << 20, PartBytes = 1 << 16;

    // Keys of what the new file is not: split, made with the old file's importances, encoded.
    private static readonly string[] s_dropped = ["split.", "quantize.imatrix.", EncodedTensors.VersionKey, EncodedTensors.KeyPrefix];

    private readonly GgufFile _file;
    private readonly QuantizationPlan _plan;
    private readonly ImportanceMatrix? _importance;
    private readonly string? _importanceName;

    /// <summary>Prepares a run.</summary>
    /// <param name="file">The model; it stays open.</param>
    /// <param name="plan">The formats of its tensors.</param>
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

    /// <summary>Threads; 0 for one a core.</summary>
    public int Threads { get; init; }

    /// <summary>Whether blocks are looked for longer than llama-quantize does (<see cref="BlockFormat.EncodeBest"/>).</summary>
    public bool IsBest { get; init; }

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
        List<string> unweighted = CheckImportances();
        string partial = path + ".partial", journalPath = partial + ".json";
        int resumed = 0;
        long bytes;
        try
        {
            using (QuantizationJournal journal = QuantizationJournal.Open(journalPath, Job(), out Dictionary<string, (string Input, string Output)> finished))
            using (FileStream output = new(partial, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read, bufferSize: 0))
            {
                using FileStream earlier = new(partial, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
                GgufWriter writer = Writer();
                long done = 0;
                foreach (PlannedTensor tensor in _plan.Tensors)
                {
                    writer.AddTensor(tensor.Source.Name, tensor.Format, tensor.Source.Dimensions.AsSpan(), stream =>
                    {
                        cancellation.ThrowIfCancellationRequested();
                        string input = QuantizationJournal.Hash(tensor.Source);
                        if (finished.TryGetValue(tensor.Source.Name, out (string Input, string Output) hashes) && hashes.Input == input && TryCopy(earlier, stream.Position, tensor.ByteLength, hashes.Output, stream))
                        {
                            resumed++;
                            journal.Finish(tensor.Source.Name, input, hashes.Output);
                        }
                        else
                        {
                            using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                            using QuantizationJournal.HashStream hashed = new(hash, stream);
                            Encode(tensor, hashed, rows => progress?.Report(new((done + rows * tensor.Source.Columns) / (double)_plan.ValueCount, tensor.Source.Name)), cancellation);
                            stream.Flush();
                            journal.Finish(tensor.Source.Name, input, Convert.ToHexString(hash.GetHashAndReset()));
                        }

                        done += tensor.ValueCount;
                        progress?.Report(new(done / (double)_plan.ValueCount, tensor.Source.Name));
                    });
                }

                writer.Write(output);
                bytes = output.Position;
                output.SetLength(bytes);
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

        return new QuantizationResult(_plan, resumed, unweighted, bytes);
    }

    // Metadata in llama-quantize's order: what the input has, then what it sets anew.
    private GgufWriter Writer()
    {
        GgufWriter writer = new();
        foreach (GgufEntry entry in _file.Metadata)
            if (!s_dropped.Any(prefix => entry.Key.StartsWith(prefix, StringComparison.Ordinal))) writer.Set(entry.Key, entry.Value);
        SetLast(writer, "general.quantization_version", QuantizationVersion);
        SetLast(writer, "general.file_type", _plan.Type.Number);
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
    private string Job()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using QuantizationJournal.HashStream stream = new(hash);
        GgufWriter writer = Writer();
        writer.Write(stream);
        foreach (PlannedTensor tensor in _plan.Tensors)
        {
            hash.AppendData(Encoding.UTF8.GetBytes($"\n{tensor.Source} -> {tensor.Format} "));
            if (_importance?.Means(tensor.Source) is { } means) hash.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(means.AsSpan()));
        }

        return $"{typeof(ModelQuantizer).Assembly.GetName().Version} {(IsBest ? "best " : string.Empty)}{Convert.ToHexString(hash.GetHashAndReset())}";
    }

    private List<string> CheckImportances()
    {
        List<string> missing = [];
        foreach (PlannedTensor tensor in _plan.Tensors)
        {
            if (tensor.Format == tensor.Source.Format || tensor.Format.BlockValues == 1 || _importance?.Means(tensor.Source) is not null) continue;
            missing.Add(tensor.Source.Name);
            if (_plan.Type.Name == "Q2_K_S" && tensor.Format == BlockFormats.Q2_K && TensorNames.Role(tensor.Source.Name) is not (TensorRole.Embedding or TensorRole.Output))
                throw new QuantizationException($"tensor '{tensor.Source.Name}' becomes Q2_K, and in Q2_K_S that needs importances of its columns. Give a matrix that has them with --importance, or take Q2_K.");
        }

        return _importance is null ? [] : missing;
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

    private void Encode(PlannedTensor tensor, Stream output, Action<long> progress, CancellationToken cancellation)
    {
        if (tensor.Format == tensor.Source.Format)
        {
            tensor.Source.CopyTo(output);
            return;
        }

        RowEncoder encoder = new(tensor.Source, tensor.Format, _importance?.Means(tensor.Source), IsBest);
        int rowBytes = (int)tensor.Format.RowBytes(tensor.Source.Columns);
        if (rowBytes == 0) return;
        int partRows = Math.Max(1, PartBytes / rowBytes);
        long slabRows = Math.Max(1, SlabBytes / rowBytes / partRows) * (long)partRows, rows = tensor.Source.RowCount;
        byte[] slab = new byte[checked((int)(Math.Min(slabRows, rows) * rowBytes))];
        ParallelOptions options = new() { MaxDegreeOfParallelism = Threads == 0 ? Environment.ProcessorCount : Threads, CancellationToken = cancellation };
        for (long first = 0; first < rows; first += slabRows)
        {
            int count = (int)Math.Min(slabRows, rows - first), parts = (count + partRows - 1) / partRows;
            long made = first;
            try
            {
                Parallel.For(0, parts, options, part =>
                {
                    int start = part * partRows, length = Math.Min(partRows, count - start);
                    encoder.Encode(first + start, slab.AsSpan(start * rowBytes, length * rowBytes));
                    progress(Interlocked.Add(ref made, length));
                });
            }
            catch (AggregateException errors) when (errors.InnerExceptions.OfType<QuantizationException>().FirstOrDefault() is { } error)
            {
                throw error;
            }

            output.Write(slab, 0, count * rowBytes);
        }
    }
}
