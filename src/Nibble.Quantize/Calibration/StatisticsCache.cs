using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;
using Nibble.Llm.Models;

namespace Nibble.Quantize.Calibration;

/// <summary>
/// Statistics on disk, a GGUF file a layer, in a folder whose name follows from the model's bytes, the ids of every chunk, what is collected and how it is computed. A file is there whole or not at all.
/// </summary>
internal sealed class StatisticsCache
{
    private const string Type = "nibble.statistics";
    private const string TypeKey = "general.type";
    private const string KeyKey = "nibble.statistics.key";
    private const string InputsKey = "nibble.statistics.inputs";

    private readonly string _folder;
    private readonly string _key;
    private readonly StatisticKinds _kinds;

    /// <summary>Opens the folder of a run; it is made when something is written.</summary>
    /// <param name="folder">Where all runs lie.</param>
    /// <param name="model">The model.</param>
    /// <param name="chunks">Ids.</param>
    /// <param name="options">How.</param>
    public StatisticsCache(string folder, LanguageModel model, IReadOnlyList<int[]> chunks, CalibrationOptions options)
    {
        _key = Key(model, chunks, options);
        _folder = Path.Combine(folder, _key[..32]);
        _kinds = options.Kinds;
    }

    /// <summary>The statistics of layers, if those of all of them are there.</summary>
    /// <param name="first">The first layer.</param>
    /// <param name="end">The layer after the last.</param>
    /// <exception cref="CalibrationException">A file is damaged.</exception>
    public List<LayerStatistics>? TryRead(int first, int end)
    {
        for (int layer = first; layer < end; layer++)
            if (!File.Exists(PathOf(layer))) return null;
        List<LayerStatistics> layers = [];
        try
        {
            for (int layer = first; layer < end; layer++)
                layers.Add(Read(layer));
        }
        catch
        {
            foreach (LayerStatistics layer in layers) layer.Dispose();
            throw;
        }

        return layers;
    }

    /// <summary>Keeps a layer's statistics.</summary>
    /// <param name="layer">The statistics.</param>
    public void Write(LayerStatistics layer)
    {
        GgufWriter writer = new();
        writer.Set(TypeKey, Type).Set(KeyKey, _key).Set(InputsKey, (uint)layer.Inputs.Count);
        for (int i = 0; i < layer.Inputs.Count; i++)
        {
            ActivationStatistics input = layer.Inputs[i];
            string prefix = Prefix(i);
            long[] shape = [input.Columns, input.Matrices];
            writer.Set(prefix + "weights", GgufValue.Array(input.Weights)).Set(prefix + "counts", GgufValue.Array(input.Counts.ToArray()));
            writer.AddTensor(prefix + "square_sums", BlockFormats.F32, shape, MemoryMarshal.AsBytes(input.SquareSums.AsSpan()).ToArray());
            writer.AddTensor(prefix + "abs_sums", BlockFormats.F32, shape, MemoryMarshal.AsBytes(input.AbsSums.AsSpan()).ToArray());
            writer.AddTensor(prefix + "lowest", BlockFormats.F32, shape, MemoryMarshal.AsBytes(input.Lowest.AsSpan()).ToArray());
            writer.AddTensor(prefix + "highest", BlockFormats.F32, shape, MemoryMarshal.AsBytes(input.Highest.AsSpan()).ToArray());
            if (input.HasHessian)
            {
                writer.AddTensor(prefix + "hessian", BlockFormats.F32, [input.Columns, input.Columns, input.Matrices], stream =>
                {
                    for (int matrix = 0; matrix < input.Matrices; matrix++)
                        for (int row = 0; row < input.Columns; row++)
                            stream.Write(MemoryMarshal.AsBytes(input.HessianRow(matrix, row)));
                });
            }

            if (input.ColumnHistograms is { } columns)
            {
                writer.AddTensor(prefix + "column_bins", BlockFormats.I32, [ColumnHistograms.BinCount, input.Columns], MemoryMarshal.AsBytes(columns.Bins).ToArray());
                writer.AddTensor(prefix + "column_widths", BlockFormats.F32, [input.Columns], MemoryMarshal.AsBytes(columns.Widths).ToArray());
            }

            if (input.Histogram is { } histogram) writer.Set(prefix + "histogram", GgufValue.Array(histogram.Bins)).Set(prefix + "histogram_width", histogram.Width);
        }

        Directory.CreateDirectory(_folder);
        writer.Write(PathOf(layer.Layer));
    }

    private LayerStatistics Read(int layer)
    {
        string path = PathOf(layer);
        List<ActivationStatistics> inputs = [];
        try
        {
            using GgufFile file = GgufFile.Open(path);
            GgufMetadata metadata = file.Metadata;
            if (metadata.GetString(TypeKey) != Type || metadata.GetString(KeyKey) != _key) throw metadata.Error(KeyKey, $"these are not the statistics of this run, {_key}.");
            uint count = metadata.GetUInt32(InputsKey);
            for (int i = 0; i < count; i++)
                inputs.Add(Read(file, Prefix(i)));
            return new LayerStatistics(layer, inputs);
        }
        catch (Exception error)
        {
            foreach (ActivationStatistics input in inputs) input.Dispose();
            if (error is not (GgufException or ArgumentException)) throw;
            throw new CalibrationException($"the cached statistics of layer {layer} cannot be used: {error.Message} Delete '{path}'.");
        }
    }

    private ActivationStatistics Read(GgufFile file, string prefix)
    {
        GgufMetadata metadata = file.Metadata;
        List<string> weights = [.. metadata.GetStrings(prefix + "weights")];
        long[] counts = metadata.GetInt64Array(prefix + "counts");
        GgufTensor squares = Tensor(file, prefix + "square_sums");
        int columns = squares.Columns, matrices = squares.Rows;
        if (weights.Count == 0 || columns == 0 || matrices == 0 || counts.Length != matrices) throw metadata.Error(prefix + "counts", $"there are {weights.Count} weights and {counts.Length} counts of {matrices} matrices.");
        for (int i = 0; i < counts.Length; i++)
            if (counts[i] < 0) throw metadata.Error(prefix + "counts", $"count {i} is {counts[i]}; at least 0 is needed.");
        float[] squareSums = Values(squares), absSums = Values(Tensor(file, prefix + "abs_sums"), squares), lowest = Values(Tensor(file, prefix + "lowest"), squares), highest = Values(Tensor(file, prefix + "highest"), squares);
        AbsHistogram? histogram = _kinds.HasFlag(StatisticKinds.Histogram) ? new AbsHistogram(metadata.GetInt64Array(prefix + "histogram"), metadata.GetFloat32(prefix + "histogram_width")) : null;
        ColumnHistograms? byColumn = _kinds.HasFlag(StatisticKinds.ColumnHistograms)
            ? new ColumnHistograms(Values<int>(Tensor(file, prefix + "column_bins", BlockFormats.I32)), Finite(Tensor(file, prefix + "column_widths"))) : null;
        if (byColumn is not null && byColumn.Columns != columns) throw metadata.Error(prefix + "weights", $"there are histograms of {byColumn.Columns} columns; {columns} are expected.");
        NativeBuffer? hessian = null;
        if (_kinds.HasFlag(StatisticKinds.Hessian))
        {
            GgufTensor tensor = Tensor(file, prefix + "hessian");
            if (tensor.Columns != columns || tensor.Rows != columns || tensor.Matrices != matrices) throw metadata.Error(prefix + "weights", $"the Hessian has the shape {tensor}; {matrices} of {columns} columns are expected.");
            hessian = new NativeBuffer(tensor.ByteLength, isZeroed: false);
            try
            {
                for (long row = 0; row < tensor.RowCount; row++)
                {
                    Span<float> values = hessian.Span<float>(row * columns, columns);
                    tensor.Row(row).CopyTo(MemoryMarshal.AsBytes(values));
                    CheckFinite(tensor, row, values);
                }
            }
            catch
            {
                hessian.Dispose();
                throw;
            }
        }

        return new ActivationStatistics(weights, columns, counts, squareSums, absSums, lowest, highest, hessian, histogram, byColumn);
    }

    private static GgufTensor Tensor(GgufFile file, string name, BlockFormat? format = null)
    {
        format ??= BlockFormats.F32;
        GgufTensor tensor = file.Find(name) ?? throw new ArgumentException($"there is no tensor '{name}'.", nameof(name));
        return tensor.Format == format ? tensor : throw new ArgumentException($"tensor '{name}' is {tensor.Format}; {format} is expected.", nameof(name));
    }

    private static float[] Values(GgufTensor tensor, GgufTensor? shape = null)
    {
        if (shape is not null && !tensor.Dimensions.SequenceEqual(shape.Dimensions)) throw new ArgumentException($"{tensor} and {shape} differ in shape.", nameof(tensor));
        return Finite(tensor);
    }

    private static float[] Finite(GgufTensor tensor)
    {
        float[] values = Values<float>(tensor);
        for (int row = 0; row < tensor.RowCount; row++) CheckFinite(tensor, row, values.AsSpan(row * tensor.Columns, tensor.Columns));
        return values;
    }

    private static void CheckFinite(GgufTensor tensor, long row, ReadOnlySpan<float> values)
    {
        for (int i = 0; i < values.Length; i++)
            if (!float.IsFinite(values[i])) throw new ArgumentException($"tensor '{tensor.Name}' has {values[i]} in row {row}, column {i}; a finite number is needed.", nameof(tensor));
    }

    private static T[] Values<T>(GgufTensor tensor)
        where T : unmanaged
    {
        T[] values = new T[tensor.RowCount * tensor.Columns];
        for (int row = 0; row < tensor.RowCount; row++)
            tensor.Row(row).CopyTo(MemoryMarshal.AsBytes(values.AsSpan(row * tensor.Columns, tensor.Columns)));
        return values;
    }

    private static string Prefix(int input) => string.Create(CultureInfo.InvariantCulture, $"input.{input}.");

    private string PathOf(int layer) => Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"layer-{layer:D5}.gguf"));

    private static string Key(LanguageModel model, IReadOnlyList<int[]> chunks, CalibrationOptions options)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string part in model.File.PartPaths)
        {
            using FileStream file = File.OpenRead(part);
            hash.AppendData(SHA256.HashData(file));
        }

        // What the numbers depend on beside model and text: which kernels multiply, and how keys and values are kept.
        string kernels = string.Join(';', model.File.Weights.All.Select(tensor => tensor.Format).Distinct().Select(format => $"{format}={model.Backend.KernelName(Operation.MatMul, format)}"));
        hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{model.Backend.Name};{kernels};kv={options.KvFormat};kinds={(int)options.Kinds};chunks={chunks.Count};")));
        foreach (int[] chunk in chunks)
        {
            hash.AppendData(BitConverter.GetBytes(chunk.Length));
            hash.AppendData(MemoryMarshal.AsBytes(chunk.AsSpan()));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
