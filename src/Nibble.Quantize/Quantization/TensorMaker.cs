using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>Makes the bytes of one tensor of a plan: streamed row by row where each row is encoded by itself, else matrix by matrix.</summary>
/// <param name="file">The model.</param>
/// <param name="plan">What becomes of it.</param>
/// <param name="importance">E[x^2] of columns, or null.</param>
/// <param name="statistics">Where the statistics of layers come from, or null.</param>
internal sealed class TensorMaker(GgufFile file, QuantizationPlan plan, ImportanceMatrix? importance, IStatisticsSource? statistics)
{
    // Output that is made before it is written, and what a thread takes of it at a time.
    private const int SlabBytes = 16 << 20, PartBytes = 1 << 16;

    /// <summary>What <see cref="SliceValues"/> is: 256 MiB in float32.</summary>
    public const int UsualSliceValues = 1 << 26;

    // Rows of a slice are a multiple of this, so that codes end with a byte.
    private const int SliceRows = 16;

    private static readonly RoundToNearest s_nearest = new();

    private readonly List<string> _nearest = [];

    // The layer that was transformed last.
    private int _layer = -1;
    private LayerChange? _change;

    /// <summary>Values of a matrix that are held in float32 at a time where its rows do not depend on one another; at least 16 rows.</summary>
    public int SliceValues { get; init; } = UsualSliceValues;

    /// <summary>Tensors that were rounded to nearest since no activations of theirs were seen.</summary>
    public IReadOnlyList<string> Nearest => _nearest;

    /// <summary>Whether a tensor's bytes can be written while they are made.</summary>
    public static bool IsStreamed(PlannedTensor tensor) => tensor.IsKept || (tensor.Target is BlockTarget && tensor.Method is RoundToNearest);

    /// <summary>Writes a tensor that is streamed.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="output">Its bytes' place.</param>
    /// <param name="progress">Told of rows that are made, or null.</param>
    /// <param name="cancellation">Stops between parts.</param>
    /// <exception cref="QuantizationException">A value cannot be encoded.</exception>
    public void Stream(PlannedTensor tensor, Stream output, Action<long>? progress, CancellationToken cancellation)
    {
        IWeightSource source = Changed(tensor.Source, cancellation);
        if (tensor.IsKept && source == tensor.Source)
        {
            tensor.Source.CopyTo(output);
            return;
        }

        BlockFormat format = tensor.Format!;
        RowEncoder encoder = new(source, format, importance?.Means(tensor.Source), tensor.Method as RoundToNearest ?? s_nearest);
        int rowBytes = (int)format.RowBytes(tensor.Source.Columns);
        if (rowBytes == 0) return;
        int partRows = Math.Max(1, PartBytes / rowBytes);
        long slabRows = Math.Max(1, SlabBytes / rowBytes / partRows) * (long)partRows, rows = tensor.Source.RowCount;
        byte[] slab = new byte[checked((int)(Math.Min(slabRows, rows) * rowBytes))];
        ParallelOptions options = new() { CancellationToken = cancellation };
        for (long first = 0; first < rows; first += slabRows)
        {
            int count = (int)Math.Min(slabRows, rows - first), parts = (count + partRows - 1) / partRows;
            long made = first;
            Unwrapped(() => Work.For(parts, options, part =>
            {
                int start = part * partRows, length = Math.Min(partRows, count - start);
                encoder.Encode(first + start, slab.AsSpan(start * rowBytes, length * rowBytes));
                progress?.Invoke(Interlocked.Add(ref made, length));
            }));
            output.Write(slab, 0, count * rowBytes);
        }
    }

    /// <summary>Makes a tensor that is not streamed.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="encoding">Its description, where it becomes one.</param>
    /// <param name="progress">Told of rows that are made, or null.</param>
    /// <param name="cancellation">Stops between matrices, or sooner where the method looks.</param>
    /// <returns>The bytes by part, of all matrices; the blocks of a block format are its codes.</returns>
    /// <exception cref="QuantizationException">A value cannot be encoded, or the method cannot do with what it was given.</exception>
    public Dictionary<EncodedPart, byte[]> Make(PlannedTensor tensor, TensorEncoding? encoding, Action<long>? progress, CancellationToken cancellation)
    {
        IWeightSource source = Changed(tensor.Source, cancellation);
        float[]? divisors = source == tensor.Source ? null : _change!.InputDivisors.GetValueOrDefault(source.Name);
        bool isStatic = encoding is { HasInputScale: true };
        ActivationStatistics? seen = tensor.Method.Needs is null && !isStatic ? null : Inputs(tensor, cancellation)?.Find(tensor.Source.Name);
        ActivationStatistics? inputs = tensor.Method.Needs is null ? null : seen;
        float[]? means = importance?.Means(tensor.Source);
        List<RoundedMatrix> made = [];
        int step = SliceOf(tensor), slices = (source.Rows + step - 1) / step;
        for (int i = 0; i < source.Matrices * slices; i++)
        {
            cancellation.ThrowIfCancellationRequested();
            int matrix = i / slices, first = i % slices * step;
            RoundingTask task = RoundingTask.Of(source, matrix, first, Math.Min(step, source.Rows - first), tensor.Target, encoding, inputs, means, divisors, tensor.Outliers);
            float[] largest = new float[task.Rows];
            long firstRow = ((long)matrix * source.Rows) + first;
            Unwrapped(() => Work.For(task.Rows, row => largest[row] = ValueCheck.Input(task.Name, firstRow + row, task.Weights.AsSpan(row * task.Columns, task.Columns))));
            RoundedMatrix rounded = Round(tensor, task, cancellation);
            CheckOutput(rounded, task, largest, firstRow);
            made.Add(rounded);
            progress?.Invoke(firstRow + task.Rows);
        }

        Dictionary<EncodedPart, byte[]> parts = Join(tensor.Source.Name, made);
        if (isStatic) parts.Add(EncodedPart.InputScale, BitConverter.GetBytes(InputScales.Of(tensor, seen, divisors)));
        return parts;
    }

    // Nothing is seen of what stands before the layers, nor of layers that only drafts of tokens run.
    private LayerStatistics? Inputs(PlannedTensor tensor, CancellationToken cancellation)
    {
        if (statistics is null) return null;
        int layer = TensorNames.Layer(tensor.Source.Name);
        return tensor.IsBehindLayers ? statistics.Layer(statistics.LayerCount, cancellation) : layer >= 0 && layer < statistics.LayerCount ? statistics.Layer(layer, cancellation) : null;
    }

    // Rows that are rounded together: all of them where a scale or an order is for the whole matrix.
    private int SliceOf(PlannedTensor tensor)
    {
        bool isWhole = tensor.Target is not (BlockTarget or GroupTarget { IsWhole: false }) || tensor.Method is not (RoundToNearest or GptqRounding or AwqRounding);
        return isWhole ? Math.Max(1, tensor.Source.Rows) : Math.Max(1, SliceValues / Math.Max(1, tensor.Source.Columns) / SliceRows) * SliceRows;
    }

    // The tensor as the plan's transform leaves it.
    private IWeightSource Changed(IWeightSource source, CancellationToken cancellation)
    {
        int layer = TensorNames.Layer(source.Name);
        if (plan.Transform is not { } transform || layer < 0) return source;
        if (layer != _layer)
        {
            _change = null;
            IEnumerable<PlannedTensor> tensors = plan.Tensors.Where(tensor => TensorNames.Layer(tensor.Source.Name) == layer);
            LayerStatistics? seen = layer < statistics?.LayerCount ? statistics.Layer(layer, cancellation) : null;
            try
            {
                _change = seen is null ? new LayerChange() : transform.Apply(
                    new LayerView(layer, file.Metadata, tensors.ToDictionary(tensor => tensor.Source.Name, tensor => tensor.Source), tensors.ToDictionary(tensor => tensor.Source.Name, tensor => tensor.Target), seen),
                    cancellation);
            }
            catch (HessianException error)
            {
                throw new QuantizationException($"layer {layer}: {error.Message}");
            }

            _layer = layer;
        }

        return _change!.Weights.TryGetValue(source.Name, out FloatMatrix? changed) ? changed : source;
    }

    private static void CheckOutput(RoundedMatrix rounded, RoundingTask task, float[] largest, long firstRow)
    {
        if (!largest.Any(value => value >= ValueCheck.Safe)) return;
        float[] decoded = task.Target.Decode(rounded, task);
        Unwrapped(() => Work.For(task.Rows, row =>
        {
            int start = row * task.Columns;
            if (largest[row] >= ValueCheck.Safe)
                ValueCheck.Output(task.Name, firstRow + row, task.Weights.AsSpan(start, task.Columns), decoded.AsSpan(start, task.Columns), largest[row], task.Target.Name);
        }));
    }

    private static Dictionary<EncodedPart, byte[]> Join(string name, List<RoundedMatrix> matrices)
    {
        if (matrices[0].Parts.Count == 0) return new() { [EncodedPart.Codes] = Concatenated(matrices, matrix => matrix.Blocks) };
        Dictionary<EncodedPart, byte[]> parts = [];
        foreach ((EncodedPart part, byte[] bytes) in matrices[0].Parts)
        {
            // What stands for all matrices must be the same in each.
            bool isShared = part is EncodedPart.Table or EncodedPart.NestedTable or EncodedPart.RowOrder or EncodedPart.ColumnOrder;
            if (isShared && matrices.Any(matrix => !matrix.Parts[part].AsSpan().SequenceEqual(bytes)))
                throw new QuantizationException($"tensor '{name}' has {matrices.Count} matrices, which would need a {EncodedPartShape.SuffixOf(part)} each; there is one for all. Use a method without an order of columns.");
            parts.Add(part, isShared ? bytes : Concatenated(matrices, matrix => matrix.Parts[part]));
        }

        return parts;
    }

    private static byte[] Concatenated(List<RoundedMatrix> matrices, Func<RoundedMatrix, byte[]> bytes)
    {
        if (matrices.Count == 1) return bytes(matrices[0]);
        long length = matrices.Sum(matrix => (long)bytes(matrix).Length);
        if (length > Array.MaxLength) throw new InsufficientMemoryException($"a tensor of {length:N0} bytes is made in memory; at most {Array.MaxLength:N0} are possible.");
        byte[] all = new byte[length];
        int at = 0;
        foreach (RoundedMatrix matrix in matrices)
        {
            bytes(matrix).CopyTo(all, at);
            at += bytes(matrix).Length;
        }

        return all;
    }

    // Where nothing went through a matrix (an expert that the text never chose), there is nothing to weigh errors by.
    private RoundedMatrix Round(PlannedTensor tensor, RoundingTask task, CancellationToken cancellation)
    {
        RoundingMethod method = tensor.Method;
        if (method.Needs is not null && (task.Statistics is null || task.Statistics.Counts[task.Matrix] == 0))
        {
            if (!s_nearest.Supports(task.Target)) throw new QuantizationException($"tensor '{task.Name}', matrix {task.Matrix}: no activations were seen, and {method} needs them. Use a longer text (--text).");
            if (!_nearest.Contains(task.Name)) _nearest.Add(task.Name);
            method = s_nearest;
        }

        try
        {
            return method.Round(task, cancellation);
        }
        catch (HessianException error)
        {
            throw new QuantizationException($"tensor '{task.Name}', matrix {task.Matrix}: {error.Message}");
        }
    }

    private static void Unwrapped(Action action)
    {
        try
        {
            action();
        }
        catch (AggregateException errors) when (errors.InnerExceptions.OfType<QuantizationException>().FirstOrDefault() is { } error)
        {
            throw error;
        }
    }
}
