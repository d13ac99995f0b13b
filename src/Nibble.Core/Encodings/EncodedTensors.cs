using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Encodings;

/// <summary>Encoded tensors in GGUF files: plain tensors for the parts, and for each encoded tensor an entry <c>nibble.encoded.NAME</c> whose text describes the encoding. See docs/encodings.md.</summary>
public static class EncodedTensors
{
    /// <summary>The version of the layout, which files have as <see cref="VersionKey"/>.</summary>
    public const uint Version = 1;

    /// <summary>The key of the version.</summary>
    public const string VersionKey = "nibble.encoding.version";

    /// <summary>What precedes a tensor's name in the key of its description.</summary>
    public const string KeyPrefix = "nibble.encoded.";

    /// <summary>Adds an encoded tensor whose parts are in memory to a file that is about to be written.</summary>
    /// <param name="writer">The file.</param>
    /// <param name="encoding">The description.</param>
    /// <param name="data">The parts.</param>
    /// <exception cref="ArgumentException">Parts and description do not fit each other, or a name or shape cannot stand in a file.</exception>
    public static void Add(GgufWriter writer, TensorEncoding encoding, EncodedData data) => Add(writer, new EncodedTensor(encoding, data));

    /// <summary>Adds an encoded tensor as it is.</summary>
    /// <param name="writer">The file.</param>
    /// <param name="tensor">The tensor; its file stays open until the new one is written.</param>
    /// <exception cref="ArgumentException">A name cannot stand in a file.</exception>
    public static void Add(GgufWriter writer, EncodedTensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        Describe(writer, tensor.Encoding);
        foreach (EncodedPartShape part in tensor.Encoding.Parts())
            writer.AddTensor(PartName(tensor.Name, part.Part), part.Format, part.Dimensions, stream => tensor.Data.CopyTo(part.Part, stream));
    }

    /// <summary>Adds an encoded tensor that is made when its first part is written and let go after its last.</summary>
    /// <param name="writer">The file.</param>
    /// <param name="encoding">The description.</param>
    /// <param name="make">Makes the parts; called once a written file. What does not fit the description is an <see cref="ArgumentException"/> from the writer.</param>
    /// <exception cref="ArgumentException">The description cannot stand in a file.</exception>
    public static void Add(GgufWriter writer, TensorEncoding encoding, Func<EncodedData> make)
    {
        ArgumentNullException.ThrowIfNull(make);
        Describe(writer, encoding);
        EncodedTensor? made = null;
        IReadOnlyList<EncodedPartShape> parts = encoding.Parts();
        foreach (EncodedPartShape part in parts)
        {
            writer.AddTensor(PartName(encoding.Name, part.Part), part.Format, part.Dimensions, stream =>
            {
                if (part == parts[0]) made = new EncodedTensor(encoding, make());
                made!.Data.CopyTo(part.Part, stream);
                if (part == parts[^1]) made = null;
            });
        }
    }

    /// <summary>The name of a part's tensor.</summary>
    public static string PartName(string tensor, EncodedPart part) => $"{tensor}.{EncodedPartShape.SuffixOf(part)}";

    /// <summary>Reads all encoded tensors of an open file.</summary>
    /// <param name="file">The file; tensors stay valid while it is open.</param>
    /// <returns>In the order of the descriptions.</returns>
    /// <exception cref="GgufException">A description cannot be read, or a part is missing, has another format or shape, or holds what is out of bounds.</exception>
    public static IReadOnlyList<EncodedTensor> Read(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        List<EncodedTensor> tensors = [];
        foreach (GgufEntry entry in file.Metadata)
        {
            if (!entry.Key.StartsWith(KeyPrefix, StringComparison.Ordinal)) continue;
            if (tensors.Count == 0) CheckVersion(file.Metadata);
            tensors.Add(ReadOne(file, entry.Key));
        }

        return tensors;
    }

    private static void Describe(GgufWriter writer, TensorEncoding encoding)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(encoding);
        encoding.Check();
        writer.Set(VersionKey, Version);
        writer.Set(KeyPrefix + encoding.Name, encoding.ToText());
    }

    private static void CheckVersion(GgufMetadata metadata)
    {
        uint version = metadata.GetUInt32(VersionKey);
        if (version != Version) throw metadata.Error(VersionKey, $"it is {version}; version {Version} can be read{(version > Version ? ": the file may be newer than this program" : "")}.");
    }

    // Two encoded tensors share no part, since a part's name is theirs up to the last point.
    private static EncodedTensor ReadOne(GgufFile file, string key)
    {
        string name = key[KeyPrefix.Length..];
        int bytes = System.Text.Encoding.UTF8.GetByteCount(name), most = GgufLimits.MaxTensorNameBytes - PartName(string.Empty, EncodedPart.Codes).Length;
        if (bytes == 0 || bytes > most) throw file.Metadata.Error(key, $"the tensor's name has {bytes} bytes; 1 to {most} are possible.");
        foreach (char c in name)
            if (char.IsControl(c)) throw file.Metadata.Error(key, $"the tensor's name holds the control character U+{(int)c:X4}.");
        if (file.Find(name) is not null) throw file.Metadata.Error(key, $"there is a plain tensor of this name, too; a tensor is encoded or plain.");
        TensorEncoding encoding;
        try
        {
            encoding = TensorEncoding.Parse(name, file.Metadata.GetString(key));
        }
        catch (FormatException e)
        {
            throw file.Metadata.Error(key, e.Message);
        }

        EncodedData data = new();
        foreach (EncodedPartShape part in encoding.Parts())
        {
            string partName = PartName(name, part.Part);
            GgufTensor tensor = file.Find(partName) ?? throw file.Metadata.Error(key, $"tensor {GgufException.Quote(partName)} is missing; {part.Format} [{string.Join(" x ", part.Dimensions)}] is needed.");
            if (tensor.Format != part.Format || !SameShape(tensor, part))
            {
                throw new GgufException(
                    System.IO.Path.GetFileName(file.Path),
                    tensor.FileOffset,
                    $"tensor {GgufException.Quote(partName)} is {tensor.Format} [{string.Join(" x ", tensor.Dimensions)}]; {part.Format} [{string.Join(" x ", part.Dimensions)}] is needed.");
            }

            data.Set(part.Part, tensor);
        }

        try
        {
            return new EncodedTensor(encoding, data);
        }
        catch (ArgumentException e)
        {
            throw file.Metadata.Error(key, e.Message);
        }
    }

    private static bool SameShape(GgufTensor tensor, EncodedPartShape part) => tensor.Columns == part.Width && tensor.Rows == part.Height && tensor.Matrices == part.Depth;
}
