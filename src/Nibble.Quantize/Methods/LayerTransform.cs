using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>Changes the float weights of a layer, before they are rounded, into others that compute the same.</summary>
public abstract class LayerTransform
{
    /// <summary>The transform and its settings, as a recipe has them.</summary>
    public abstract string Name { get; }

    /// <summary>What it needs of activations.</summary>
    public abstract StatisticKinds Needs { get; }

    /// <summary>Transforms a layer.</summary>
    /// <param name="layer">The layer.</param>
    /// <param name="cancellation">Looked at between weights.</param>
    /// <exception cref="HessianException">The statistics cannot be used.</exception>
    public abstract LayerChange Apply(LayerView layer, CancellationToken cancellation);

    /// <inheritdoc/>
    public sealed override string ToString() => Name;
}

/// <summary>A layer that is about to be rounded.</summary>
/// <param name="Layer">Its number.</param>
/// <param name="Metadata">The model's.</param>
/// <param name="Tensors">Its tensors by name.</param>
/// <param name="Targets">What they become.</param>
/// <param name="Statistics">What its weights are multiplied with.</param>
public sealed record LayerView(int Layer, GgufMetadata Metadata, IReadOnlyDictionary<string, IWeightSource> Tensors, IReadOnlyDictionary<string, TensorTarget> Targets, LayerStatistics Statistics)
{
    /// <summary>A tensor's name in this layer.</summary>
    /// <param name="part">For example <c>attn_q.weight</c>.</param>
    public string NameOf(string part) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"blk.{Layer}.{part}");
}

/// <summary>What became of a layer: tensors that are not mentioned stay as they are.</summary>
public sealed class LayerChange
{
    /// <summary>New values by tensor.</summary>
    public Dictionary<string, FloatMatrix> Weights { get; } = new(StringComparer.Ordinal);

    /// <summary>[columns] by weight, what column j of its inputs is divided by from now on.</summary>
    public Dictionary<string, float[]> InputDivisors { get; } = new(StringComparer.Ordinal);

    /// <summary>A tensor's values as they are now, which may be written to.</summary>
    /// <param name="source">The tensor.</param>
    /// <exception cref="InsufficientMemoryException">It has more values than an array can hold.</exception>
    public FloatMatrix Open(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (Weights.TryGetValue(source.Name, out FloatMatrix? known)) return known;
        return Weights[source.Name] = new FloatMatrix(source.Name, FloatMatrix.Read(source, 0, source.RowCount), source.Rows, source.Columns);
    }
}
