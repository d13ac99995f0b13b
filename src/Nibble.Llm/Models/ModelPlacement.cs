using System.Collections.Immutable;
using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Layers;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Models;

/// <summary>What a placement is planned for.</summary>
public sealed record PlacementOptions
{
    /// <summary>Layers that the device takes, the last ones of the model, the output counted as one more after them; null for as many as fit.</summary>
    public int? DeviceLayers { get; init; }

    /// <summary>Positions of the one session that is planned for; null as in <see cref="SessionOptions.Context"/>.</summary>
    public int? Context { get; init; }

    /// <summary>Format of keys and values.</summary>
    public BlockFormat KvFormat { get; init; } = BlockFormats.F16;

    /// <summary>Tokens that are evaluated together at most.</summary>
    public int BatchTokens { get; init; } = 512;

    /// <summary>Bytes of the device's memory that are free; null for what it says itself.</summary>
    public long? AvailableBytes { get; init; }
}

/// <summary>The matrices of one format that a device takes.</summary>
/// <param name="Format">The format in the file.</param>
/// <param name="Tensors">How many there are.</param>
/// <param name="FileBytes">Their bytes in the file.</param>
/// <param name="DeviceBytes">Their bytes on the device.</param>
/// <param name="Kernel">What serves them; it says where they are widened.</param>
public sealed record PlacedFormat(BlockFormat Format, int Tensors, long FileBytes, long DeviceBytes, string Kernel);

/// <summary>Which layers of a model a device takes: planned by its free memory before anything is uploaded, or as somebody asked.</summary>
/// <remarks>The bytes of a layer are its weights as the device stores them, keys and values, and recurrent states with their copies; activations come once.</remarks>
public sealed class ModelPlacement
{
    // A driver has needs of its own, and drivers of OpenCL do not tell what other programs have taken.
    private const int ReservedShare = 16;

    private readonly string _device;

    private ModelPlacement(string device, SplitPlacement split, int layers)
    {
        _device = device;
        Split = split;
        Layers = layers;
    }

    /// <summary>Which parts are on the device.</summary>
    public SplitPlacement Split { get; }

    /// <summary>Layers of the model.</summary>
    public int Layers { get; }

    /// <summary>Layers on the device.</summary>
    public int DeviceLayers => Split.EndLayer - Split.FirstLayer;

    /// <summary>Whether the device has all of the model.</summary>
    public bool IsWhole => DeviceLayers == Layers && Split.TakesOutput;

    /// <summary>Whether the device has nothing of it.</summary>
    public bool IsNone => DeviceLayers == 0 && !Split.TakesOutput;

    /// <summary>Bytes of the device's weights.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Bytes of its keys and values, and of its recurrent states.</summary>
    public required long KvBytes { get; init; }

    /// <summary>Bytes of its activations.</summary>
    public required long ScratchBytes { get; init; }

    /// <summary>Bytes that were free on the device.</summary>
    public required long AvailableBytes { get; init; }

    /// <summary>Bytes of weights in the file that are the host's, tables of embeddings left out.</summary>
    public required long HostBytes { get; init; }

    /// <summary>Positions that were planned for.</summary>
    public required int Positions { get; init; }

    /// <summary>Format of keys and values.</summary>
    public required BlockFormat KvFormat { get; init; }

    /// <summary>The formats of the matrices that the device takes.</summary>
    public required ImmutableArray<PlacedFormat> Formats { get; init; }

    /// <summary>Plans.</summary>
    /// <param name="file">The model's file.</param>
    /// <param name="device">What takes layers.</param>
    /// <param name="options">What for.</param>
    /// <exception cref="GgufException">The file cannot be run.</exception>
    /// <exception cref="ArgumentException">The KV format does not suit the model's heads; a number is out of range.</exception>
    /// <exception cref="InsufficientMemoryException">The layers that were asked for do not fit.</exception>
    public static ModelPlacement Plan(GgufFile file, Backend device, PlacementOptions options)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(options);
        if (options.DeviceLayers is < 0) throw new ArgumentOutOfRangeException(nameof(options), $"{options.DeviceLayers} layers were asked for on a GPU (--gpu-layers); it must be 0 or more.");

        // The reference backend uses weights in place, so that reading a model's shape costs next to nothing.
        using ReferenceBackend reference = new();
        ModelReader reader = new(file, reference, null);
        try
        {
            return Plan(file, device, options, Architectures.Build(file, reader), reader.ContextLength());
        }
        finally
        {
            foreach (Weight weight in reader.Weights)
                weight.Dispose();
        }
    }

    /// <summary>What is where and how large, a line each, for people.</summary>
    /// <param name="host">Name of what has the other layers.</param>
    public IEnumerable<string> Describe(string host)
    {
        if (IsNone)
        {
            yield return Text($"{_device}: no layer; {Size(ScratchBytes)} of activations and the last layer do not fit in {Size(AvailableBytes)}, or none was asked for. The model runs on {host}");
            yield break;
        }

        string layers = DeviceLayers == 0 ? "the output" : $"{LayerText(Split.FirstLayer, Split.EndLayer)} of {Layers}{(Split.TakesOutput ? " and the output" : string.Empty)}";
        yield return Text($"{_device}: {layers}; {Size(WeightBytes)} of weights, {Size(KvBytes)} of keys, values and states ({Positions} positions, {KvFormat.Name}), {Size(ScratchBytes)} of activations; {Size(AvailableBytes)} are free");
        if (!IsWhole)
            yield return Text($"{host}: {(Split.FirstLayer > 0 ? LayerText(0, Split.FirstLayer) : "no layer")}{(Split.TakesOutput ? string.Empty : " and the output")}, and rows of embeddings; {Size(HostBytes)} of weights");
        foreach (PlacedFormat format in Formats)
            yield return Text($"{format.Kernel}: {format.Tensors} tensor{(format.Tensors == 1 ? string.Empty : "s")}, {Size(format.FileBytes)} in the file, {Size(format.DeviceBytes)} on the device");
    }

    private static ModelPlacement Plan(GgufFile file, Backend device, PlacementOptions options, Decoder decoder, int contextLength)
    {
        int layers = decoder.Layers.Length;
        int positions = options.Context ?? Math.Min(contextLength, SessionOptions.DefaultContext);
        if (decoder.PositionEmbedding is { } table) positions = Math.Min(positions, table.Rows);
        long[] weights = new long[layers + 1], kv = new long[layers + 1];
        bool isTied = ReferenceEquals(decoder.Output.Weight, decoder.Embedding);

        // The last entry is the output. Parts that come before the layers go with it, since only a model that the device has as a whole has them there.
        int PartOf(IWeightSource source) =>
            SplitPlacement.LayerOf(source.Name) is var layer && layer >= 0 ? layer < layers ? layer : -1
            : SplitPlacement.IsOutput(source.Name) || (source.Name == "token_embd.weight" ? isTied : !source.Name.EndsWith("token_embd.weight", StringComparison.Ordinal)) ? layers
            : -1;
        bool IsTaken(IWeightSource source) => PartOf(source) >= 0 && device.Supports(Operation.MatMul, source.Format);
        foreach (IWeightSource source in file.Weights.All)
            if (IsTaken(source)) weights[PartOf(source)] += device.UploadBytes(source);
        SequenceShape sequence = decoder.Sequence;
        for (int i = 0; i < sequence.Kv.Length; i++)
            kv[sequence.KvOwners[i]] += KvCache.Bytes([sequence.Kv[i]], positions, options.KvFormat, options.BatchTokens);
        for (int i = 0; i < sequence.States.Length; i++)
            kv[sequence.StateOwners[i]] += 4L * sequence.States[i].Rows * sequence.States[i].Columns * (1 + SequenceState.MaxCopies);

        long scratch = decoder.Shape.Bytes(options.BatchTokens, LanguageModel.LogitRowCount), available = options.AvailableBytes ?? device.AvailableBytes, usable = available - (available / ReservedShare);
        int Fitting()
        {
            long used = scratch;
            for (int count = 0; count <= layers; count++)
            {
                int part = count < layers ? layers - 1 - count : layers;
                used += weights[part] + kv[part];
                if (used > usable) return count;
            }

            return layers + 1;
        }

        int fitting = Fitting(), wanted = Math.Min(options.DeviceLayers ?? fitting, layers + 1);
        if (wanted > fitting)
            throw new InsufficientMemoryException(
                $"{wanted} layers (--gpu-layers, the output counts as one) with keys and values of {positions:N0} positions and activations of {options.BatchTokens} tokens do not fit into the {usable:N0} bytes that may be used of {device.Name}'s memory; "
                + $"{fitting} do. Use fewer layers, a smaller context (--context), a smaller KV format (--kv q8_0) or a smaller batch (--batch).");
        int first = layers - Math.Min(wanted, layers);
        bool takesOutput = wanted > layers;
        bool IsOutput(IWeightSource source) => takesOutput && (first == 0 || SplitPlacement.IsOutput(source.Name) || source.Name == "token_embd.weight");
        IWeightSource[] taken = [.. file.Weights.All.Where(source => IsTaken(source) && (PartOf(source) == layers ? IsOutput(source) : PartOf(source) >= first))];
        return new ModelPlacement(device.Description, new SplitPlacement(first, layers, takesOutput, [.. sequence.KvOwners.Select(owner => owner >= first)]), layers)
        {
            WeightBytes = Sum(weights, first, takesOutput),
            KvBytes = Sum(kv, first, takesOutput),
            ScratchBytes = scratch,
            AvailableBytes = available,
            HostBytes = file.Weights.All.Except(taken).Where(source => PartOf(source) >= 0).Sum(source => source.ByteLength),
            Positions = positions,
            KvFormat = options.KvFormat,
            Formats =
            [
                .. taken.Where(source => source.Rows > 1 || source.Matrices > 1).GroupBy(source => source.Format).OrderByDescending(group => group.Sum(source => source.ByteLength))
                    .Select(group => new PlacedFormat(group.Key, group.Count(), group.Sum(source => source.ByteLength), group.Sum(device.UploadBytes), device.KernelName(Operation.MatMul, group.Key))),
            ],
        };
    }

    private static long Sum(long[] parts, int first, bool withOutput) => parts[first..^1].Sum() + (withOutput ? parts[^1] : 0);

    private static string LayerText(int first, int end) => end - first == 1 ? $"layer {first}" : $"layers {first} to {end - 1}";

    private static string Size(long bytes) => bytes == long.MaxValue ? "unknown bytes" : string.Create(CultureInfo.InvariantCulture, $"{bytes / 1e6:N1} MB");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
