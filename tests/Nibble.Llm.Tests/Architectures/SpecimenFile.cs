using Nibble.Llm.Models;

namespace Nibble.Testing;

/// <summary>A specimen's tensors: those that its architecture asks for. Tests and the maker of goldens share this file.</summary>
internal static class SpecimenFile
{
    private const int Layers = 6;

    /// <summary>Describes the file of a specimen.</summary>
    /// <param name="specimen">The specimen.</param>
    /// <param name="leftOut">Optional tensors that it goes without, by name; null for none.</param>
    public static SyntheticModel Describe(Specimen specimen, Predicate<string>? leftOut = null) => new(
        specimen.Metadata,
        name => leftOut?.Invoke(name) != true && specimen.Has(name, SyntheticModel.HasByDefault(name)),
        specimen.RowsOf,
        from layer in Enumerable.Range(0, Layers)
        from tensor in specimen.Others
        select new SyntheticTensor($"blk.{layer}.{tensor.Name}", tensor.Columns, tensor.Rows, 1));
}
