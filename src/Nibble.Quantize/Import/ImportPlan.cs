using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Import.Formats;

namespace Nibble.Quantize.Import;

/// <summary>The GGUF file that an import makes: its metadata, and its tensors, whose bytes are made while the file is written.</summary>
/// <param name="architecture">The value of <c>general.architecture</c>.</param>
internal sealed class ImportPlan(string architecture)
{
    private readonly List<PlannedTensor> _tensors = [];
    private readonly List<string> _notes = [];

    // The second argument is called before the first bytes of the tensor are made.
    private sealed record PlannedTensor(string Name, long Bytes, Action<GgufWriter, Action> Add);

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string Architecture => architecture;

    /// <summary>The metadata and tensors.</summary>
    public GgufWriter Writer { get; } = new();

    /// <summary>What a person should know: rules that were used, and what in the checkpoint has no place in the file.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Tensors.</summary>
    public int TensorCount => _tensors.Count;

    /// <summary>Bytes of all tensors.</summary>
    public long TensorBytes => _tensors.Sum(tensor => tensor.Bytes);

    /// <summary>Adds a note, once.</summary>
    public void Note(string text)
    {
        if (!_notes.Contains(text)) _notes.Add(text);
    }

    /// <summary>Sets a key of the architecture.</summary>
    /// <param name="key">The part after the architecture's name.</param>
    /// <param name="value">The value.</param>
    public void Set(string key, GgufValue value) => Writer.Set($"{architecture}.{key}", value);

    /// <summary>Adds a tensor whose bytes are made while the file is written.</summary>
    /// <param name="name">Its name in the file.</param>
    /// <param name="format">How the values are stored.</param>
    /// <param name="dimensions">The first is the contiguous one.</param>
    /// <param name="write">Writes the rows.</param>
    public void Add(string name, BlockFormat format, long[] dimensions, Action<Stream> write)
    {
        long bytes = format.RowBytes(dimensions[0]);
        foreach (long dimension in dimensions.AsSpan(1)) bytes *= dimension;
        _tensors.Add(new PlannedTensor(name, bytes, (writer, begin) => writer.AddTensor(name, format, dimensions, stream =>
        {
            begin();
            write(stream);
        })));
    }

    /// <summary>Adds a quantized matrix, or those of experts as one tensor.</summary>
    /// <param name="parts">The matrices, alike in format and shape.</param>
    /// <param name="source">The first one's name in the checkpoint, for errors.</param>
    /// <param name="name">The tensor's name.</param>
    /// <param name="rows">Rows of a matrix.</param>
    /// <param name="columns">Values of a row.</param>
    /// <param name="order">Which row of the checkpoint comes at each place; null for as they are.</param>
    /// <param name="isStack">Whether even a single matrix becomes a tensor of three dimensions.</param>
    public void AddLayers(IReadOnlyList<LayerWeights> parts, string source, string name, int rows, int columns, int[]? order = null, bool isStack = false)
    {
        if (parts[0] is BlockWeights { Format: var format })
        {
            // Whole rows: another order costs nothing.
            Add(name, format, isStack ? [columns, rows, parts.Count] : [columns, rows], stream =>
            {
                byte[] bytes = new byte[format.RowBytes(columns)];
                foreach (LayerWeights part in parts)
                    for (int i = 0; i < rows; i++)
                    {
                        ((BlockWeights)part).WriteRow(order is null ? i : order[i], bytes);
                        stream.Write(bytes);
                    }
            });
            return;
        }

        EncodedWeights[] matrices = [.. parts.Cast<EncodedWeights>()];
        TensorEncoding encoding = matrices[0].Encoding;
        foreach (EncodedWeights matrix in matrices)
            if (matrix.Encoding != encoding || (matrices.Length > 1 && encoding.HasColumnOrder))
                throw new ImportException(source, $"the experts of {name} are stored in several ways ({encoding.ToText()}; {matrix.Encoding.ToText()}); they become one tensor, which needs one way and no order of columns.");
        encoding = encoding with { Matrices = matrices.Length, HasRowOrder = order is not null };
        encoding.Check();
        _tensors.Add(new PlannedTensor(name, encoding.ByteLength, (writer, begin) => EncodedTensors.Add(writer, encoding, () =>
        {
            begin();
            return Data(matrices, order, source);
        })));
    }

    /// <summary>Adds a float32 vector.</summary>
    /// <param name="name">Its name in the file.</param>
    /// <param name="make">Makes the values.</param>
    /// <param name="count">Values.</param>
    public void AddVector(string name, int count, Func<float[]> make) => Add(name, BlockFormats.F32, [count], stream => stream.Write(MemoryMarshal.AsBytes(make().AsSpan())));

    /// <summary>Adds matrices of floats as one tensor.</summary>
    /// <param name="name">Its name in the file.</param>
    /// <param name="parts">The matrices, alike in type and shape; the tensor has three dimensions where there is more than one, or where asked for.</param>
    /// <param name="order">Which row comes at each place; null for as they are.</param>
    /// <param name="isStack">Whether even a single matrix becomes a tensor of three dimensions.</param>
    public void AddRows(string name, IReadOnlyList<FloatRows> parts, int[]? order = null, bool isStack = false)
    {
        FloatRows first = parts[0];
        foreach (FloatRows part in parts)
            if (part.Tensor.Type != first.Tensor.Type) throw CheckpointFolder.Fault(part.Tensor, $"{first.Tensor.Type.Name()} is needed, as '{first.Tensor.Name}' has it: they become one tensor");
        long[] dimensions = isStack ? [first.Columns, first.Rows, parts.Count] : [first.Columns, first.Rows];
        Add(name, first.Format, dimensions, stream =>
        {
            foreach (FloatRows part in parts) part.CopyTo(stream, order);
        });
    }

    /// <summary>Writes the file beside its place and moves it there when it is whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="progress">Told the share that is written and the tensor, or null.</param>
    /// <param name="cancellation">Looked at before each tensor.</param>
    public void Write(string path, Action<double, string>? progress, CancellationToken cancellation)
    {
        long done = 0, all = Math.Max(1, TensorBytes);
        foreach (PlannedTensor tensor in _tensors)
            tensor.Add(Writer, () =>
            {
                cancellation.ThrowIfCancellationRequested();
                progress?.Invoke((double)done / all, tensor.Name);
                done += tensor.Bytes;
            });
        Writer.Write(path);
    }

    private static EncodedData Data(EncodedWeights[] matrices, int[]? order, string source)
    {
        EncodedData data = new();
        Dictionary<EncodedPart, byte[]>[] made = [.. matrices.Select(matrix => matrix.Make())];
        foreach ((EncodedPart part, byte[] bytes) in made[0])
        {
            // Tables are shared by all matrices.
            bool isShared = part is EncodedPart.Table or EncodedPart.NestedTable;
            if (isShared && made.Any(one => !one[part].AsSpan().SequenceEqual(bytes))) throw new ImportException(source, $"the experts of {matrices[0].Encoding.Name} have tables of their own; they become one tensor with one table.");
            data.Set(part, isShared || made.Length == 1 ? bytes : made.SelectMany(one => one[part]).ToArray());
        }

        if (order is not null) data.Set<int>(EncodedPart.RowOrder, order);
        return data;
    }
}
