using System.Text.RegularExpressions;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>What a <see cref="QuantizationPlan"/> is made from: a type of file, or a target for the linear layers, and how to round.</summary>
public sealed record PlanOptions
{
    /// <summary>The type, whose rules choose every tensor's format; or null, and then <see cref="Target"/> counts.</summary>
    public FileType? Type { get; init; }

    /// <summary>What the linear layers become where there is no type; embedding and output stay as they are.</summary>
    public TensorTarget? Target { get; init; }

    /// <summary>How the linear layers and the output matrix are rounded. What it does not make, and what else stands outside of the layers, is rounded to nearest.</summary>
    public RoundingMethod Method { get; init; } = new RoundToNearest();

    /// <summary>What is done to the layers' floats before they are rounded, or null.</summary>
    public LayerTransform? Transform { get; init; }

    /// <summary>Whether every tensor gets the type's format, with no mix.</summary>
    public bool IsPure { get; init; }

    /// <summary>Whether there is an importance matrix, which some mixes ask.</summary>
    public bool HasImportance { get; init; }

    /// <summary>Targets of tensors whose name a pattern is found in; the first that is found counts.</summary>
    public IReadOnlyList<(Regex Pattern, TensorTarget Target)> Overrides { get; init; } = [];
}
