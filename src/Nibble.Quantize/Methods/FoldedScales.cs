using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>
/// Pairs of tensors between which a factor for each channel can be moved without changing what a layer computes: what makes the inputs of some weights (a norm's gain, or the rows of the weight before) is divided by
/// it, and the columns of those weights are multiplied by it.
/// </summary>
internal sealed class FoldedScales
{
    // Those of which it is known that nothing else reads what the norms give.
    private static readonly HashSet<string> s_architectures = new(StringComparer.Ordinal) { "llama", "mistral3", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "granite", "smollm3" };

    private readonly LayerView _layer;
    private readonly int[] _channels;

    private FoldedScales(LayerView layer, ActivationStatistics inputs, IReadOnlyList<string> makers, int[] channels, int count)
    {
        _layer = layer;
        Inputs = inputs;
        Makers = makers;
        _channels = channels;
        Count = count;
    }

    /// <summary>What the weights read.</summary>
    public ActivationStatistics Inputs { get; }

    /// <summary>Tensors whose values (of a vector) or rows (of a matrix) are divided.</summary>
    public IReadOnlyList<string> Makers { get; }

    /// <summary>How many factors there are: one a column of the weights, or fewer where heads share values.</summary>
    public int Count { get; }

    /// <summary>The pairs of a layer, in the order in which the layer computes them. Where a norm is read by something else, or values pass through more than a product, there is none.</summary>
    public static IEnumerable<FoldedScales> Of(LayerView layer)
    {
        if (!s_architectures.Contains(layer.Metadata.GetString("general.architecture", string.Empty)!)) yield break;
        bool hasExperts = layer.Tensors.Keys.Any(name => name.Contains("_exps", StringComparison.Ordinal) || name.Contains("ffn_gate_inp", StringComparison.Ordinal));
        foreach (ActivationStatistics inputs in layer.Statistics.Inputs)
        {
            if (inputs.Matrices != 1 || inputs.Counts[0] == 0) continue;
            HashSet<string> readers = [.. inputs.Weights.Select(name => name[(name.IndexOf('.', 4) + 1)..])];
            int columns = inputs.Columns;
            if (readers.SetEquals(["attn_q.weight", "attn_k.weight", "attn_v.weight"]) || readers.SetEquals(["attn_qkv.weight"]))
            {
                if (Norm(layer, inputs, "attn_norm") is { } pair) yield return pair;
            }
            else if (!hasExperts && (readers.SetEquals(["ffn_gate.weight", "ffn_up.weight"]) || (readers.SetEquals(["ffn_up.weight"]) && !layer.Tensors.ContainsKey(layer.NameOf("ffn_gate.weight")))))
            {
                if (Norm(layer, inputs, "ffn_norm") is { } pair) yield return pair;
            }
            else if (readers.SetEquals(["attn_output.weight"]) && layer.Tensors.TryGetValue(layer.NameOf("attn_v.weight"), out IWeightSource? values) && HeadChannels(layer, columns, values.Rows) is { } channels)
            {
                yield return new FoldedScales(layer, inputs, WithBias(layer, "attn_v"), channels, values.Rows);
            }
            else if (readers.SetEquals(["ffn_down.weight"]) && layer.Tensors.ContainsKey(layer.NameOf("ffn_gate.weight")) && layer.Tensors.TryGetValue(layer.NameOf("ffn_up.weight"), out IWeightSource? up) && up.Rows == columns)
            {
                // act(gate) x up: a factor of up is one of the product.
                yield return new FoldedScales(layer, inputs, WithBias(layer, "ffn_up"), [.. Enumerable.Range(0, columns)], columns);
            }
        }
    }

    /// <summary>The factor of each column of the weights.</summary>
    /// <param name="factors">[<see cref="Count"/>].</param>
    public float[] Columns(float[] factors) => Array.ConvertAll(_channels, channel => factors[channel]);

    /// <summary>A mean over the columns that share a factor.</summary>
    /// <param name="columns">[columns].</param>
    /// <returns>[<see cref="Count"/>].</returns>
    public float[] Shared(ReadOnlySpan<float> columns)
    {
        float[] sums = new float[Count];
        for (int i = 0; i < columns.Length; i++) sums[_channels[i]] += columns[i] * Count / columns.Length;
        return sums;
    }

    /// <summary>The greatest of the columns that share a factor.</summary>
    /// <param name="columns">[columns].</param>
    /// <returns>[<see cref="Count"/>].</returns>
    public float[] Greatest(ReadOnlySpan<float> columns)
    {
        float[] greatest = new float[Count];
        for (int i = 0; i < columns.Length; i++) greatest[_channels[i]] = MathF.Max(greatest[_channels[i]], columns[i]);
        return greatest;
    }

    /// <summary>Moves factors.</summary>
    /// <param name="factors">[<see cref="Count"/>] above 0.</param>
    /// <param name="change">The layer's change, which this adds to.</param>
    public void Fold(float[] factors, LayerChange change)
    {
        float[] byColumn = Columns(factors);
        foreach (string maker in Makers)
        {
            FloatMatrix matrix = change.Open(_layer.Tensors[maker]);
            bool isVector = matrix.Values.Length == factors.Length;
            for (int i = 0; i < matrix.Values.Length; i++) matrix.Values[i] /= factors[isVector ? i : i / matrix.Columns];
        }

        foreach (string reader in Inputs.Weights)
        {
            FloatMatrix matrix = change.Open(_layer.Tensors[reader]);
            for (int i = 0; i < matrix.Values.Length; i++) matrix.Values[i] *= byColumn[i % byColumn.Length];
            change.InputDivisors[reader] = byColumn;
        }
    }

    private static FoldedScales? Norm(LayerView layer, ActivationStatistics inputs, string norm)
    {
        if (!layer.Tensors.TryGetValue(layer.NameOf(norm + ".weight"), out IWeightSource? gain) || gain.Columns != inputs.Columns || gain.RowCount != 1) return null;
        return new FoldedScales(layer, inputs, WithBias(layer, norm), [.. Enumerable.Range(0, inputs.Columns)], inputs.Columns);
    }

    private static List<string> WithBias(LayerView layer, string part)
    {
        List<string> names = [layer.NameOf(part + ".weight")];
        if (layer.Tensors.ContainsKey(layer.NameOf(part + ".bias"))) names.Add(layer.NameOf(part + ".bias"));
        return names;
    }

    // Column c of the output matrix is value d of query head h, which comes from row d of that head's KV head.
    private static int[]? HeadChannels(LayerView layer, int columns, int valueRows)
    {
        if (columns == valueRows) return [.. Enumerable.Range(0, columns)];
        GgufMetadata metadata = layer.Metadata;
        string key = $"{metadata.GetString("general.architecture")}.attention.head_count";
        if (metadata.IsArray(key)) return null;
        int heads = metadata.GetInt32(key, 0);
        if (heads == 0 || columns % heads != 0) return null;
        int size = columns / heads;
        if (valueRows % size != 0 || heads % (valueRows / size) != 0) return null;
        int shared = heads / (valueRows / size);
        return [.. Enumerable.Range(0, columns).Select(c => (c / size / shared * size) + (c % size))];
    }
}
