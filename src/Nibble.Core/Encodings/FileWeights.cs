using Nibble.Core.Compute;
using Nibble.Core.Gguf;

namespace Nibble.Core.Encodings;

/// <summary>The weights of an open file: its plain tensors, and encoded ones under their own names in the place of their parts.</summary>
public sealed class FileWeights
{
    private readonly Dictionary<string, IWeightSource> _byName;

    /// <summary>Finds the weights of a file.</summary>
    /// <param name="file">The file; weights stay valid while it is open.</param>
    /// <exception cref="GgufException">An encoded tensor cannot be read; see <see cref="EncodedTensors.Read"/>.</exception>
    public FileWeights(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        Encoded = EncodedTensors.Read(file);
        Dictionary<string, EncodedTensor> codes = new(StringComparer.Ordinal);
        HashSet<string> parts = new(StringComparer.Ordinal);
        foreach (EncodedTensor tensor in Encoded)
        {
            codes.Add(EncodedTensors.PartName(tensor.Name, EncodedPart.Codes), tensor);
            parts.UnionWith(tensor.Encoding.Parts().Select(part => EncodedTensors.PartName(tensor.Name, part.Part)));
        }

        List<IWeightSource> all = [];
        foreach (GgufTensor tensor in file.Tensors)
        {
            if (codes.TryGetValue(tensor.Name, out EncodedTensor? encoded)) all.Add(encoded);
            else if (!parts.Contains(tensor.Name)) all.Add(tensor);
        }

        All = all;
        _byName = all.ToDictionary(weight => weight.Name, StringComparer.Ordinal);
    }

    /// <summary>All weights in the file's order.</summary>
    public IReadOnlyList<IWeightSource> All { get; }

    /// <summary>The encoded ones, in the order of their descriptions.</summary>
    public IReadOnlyList<EncodedTensor> Encoded { get; }

    /// <summary>A weight by name, or null.</summary>
    public IWeightSource? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Bytes from the start of the file to a weight, or to its codes; 0 for one of no file.</summary>
    public static long FileOffset(IWeightSource weight) => weight switch
    {
        GgufTensor tensor => tensor.FileOffset,
        EncodedTensor tensor => tensor.FileOffset,
        _ => 0,
    };
}
