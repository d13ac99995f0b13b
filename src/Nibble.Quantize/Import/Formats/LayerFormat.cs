using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import.Formats;

/// <summary>A matrix that a layer asks a checkpoint for.</summary>
/// <param name="Folder">The checkpoint.</param>
/// <param name="Source">Its name there, without <c>.weight</c>.</param>
/// <param name="Name">Its name in the GGUF file, with <c>.weight</c>.</param>
/// <param name="Rows">Outputs.</param>
/// <param name="Columns">Inputs.</param>
/// <param name="Meaning">What rows and columns are, for errors.</param>
internal sealed record LayerRequest(CheckpointFolder Folder, string Source, string Name, int Rows, int Columns, string Meaning)
{
    /// <summary>A tensor of the layer, of a type and shape.</summary>
    /// <param name="suffix">What follows the layer's name, with its point.</param>
    /// <param name="types">The types that it may have.</param>
    /// <param name="shape">Its shape.</param>
    public SafetensorsTensor Need(string suffix, ReadOnlySpan<SafetensorsType> types, params ReadOnlySpan<long> shape) =>
        Folder.Need(Source + suffix, types, shape, $"a matrix of {Rows} x {Columns}: {Meaning}");

    /// <summary>Whether the layer has a tensor.</summary>
    /// <param name="suffix">What follows the layer's name, with its point.</param>
    public bool Has(string suffix) => Folder.Has(Source + suffix);
}

/// <summary>A matrix as it goes into the GGUF file.</summary>
internal abstract record LayerWeights;

/// <summary>A matrix in one of Nibble's encodings.</summary>
/// <param name="Encoding">The description, without an order of rows.</param>
/// <param name="Make">Makes the parts.</param>
internal sealed record EncodedWeights(TensorEncoding Encoding, Func<Dictionary<EncodedPart, byte[]>> Make) : LayerWeights;

/// <summary>A matrix in a block format of GGUF, row by row.</summary>
/// <param name="Format">The format.</param>
/// <param name="WriteRow">Writes the bytes of a row of the checkpoint.</param>
internal sealed record BlockWeights(BlockFormat Format, Action<int, Span<byte>> WriteRow) : LayerWeights;

/// <summary>How one toolkit stores quantized matrices.</summary>
internal abstract class LayerFormat
{
    /// <summary>Float scales that are read.</summary>
    protected static ReadOnlySpan<SafetensorsType> Floats => FloatRows.Types;

    /// <summary>The name of the format and its formula, for people.</summary>
    public abstract string Rule { get; }

    /// <summary>Whether a layer is stored so. Layers that are not are floats.</summary>
    public abstract bool Covers(CheckpointFolder folder, string source);

    /// <summary>What follows a layer's name in the tensor by which such a layer is known, for errors.</summary>
    public abstract string Marker { get; }

    /// <summary>Reads a layer.</summary>
    /// <exception cref="ImportException">A tensor is missing, or another than the format has.</exception>
    public abstract LayerWeights Read(LayerRequest request);

    /// <summary>The words of a tensor of 32-bit numbers.</summary>
    protected static ReadOnlySpan<uint> Words(SafetensorsTensor tensor) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, uint>(tensor.Bytes());

    /// <summary>Packs the codes of all rows.</summary>
    /// <param name="codes">[rows x columns].</param>
    /// <param name="bits">Bits of a code.</param>
    protected static byte[] Pack(byte[] codes, int bits)
    {
        byte[] packed = new byte[(long)codes.Length * bits / 8];
        CodeBits.Pack(codes, bits, packed);
        return packed;
    }

    /// <summary>A matrix of scalars with rows and columns exchanged, in its own format.</summary>
    /// <param name="tensor">[rows, columns].</param>
    protected static byte[] Transposed(SafetensorsTensor tensor)
    {
        int rows = (int)tensor.Shape[0], columns = (int)tensor.Shape[1], size = tensor.Type.Bytes();
        ReadOnlySpan<byte> from = tensor.Bytes();
        byte[] to = new byte[from.Length];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                from.Slice(((i * columns) + j) * size, size).CopyTo(to.AsSpan(((j * rows) + i) * size));
        return to;
    }

    /// <summary>Zeros of groups: one for all where they are alike, else one each.</summary>
    /// <param name="encoding">The encoding without zeros.</param>
    /// <param name="zeros">[rows x groups].</param>
    /// <returns>The encoding, and the zeros' bytes where there are some.</returns>
    protected static (GroupEncoding Encoding, byte[]? Zeros) WithZeros(GroupEncoding encoding, byte[] zeros) =>
        zeros.AsSpan().IndexOfAnyExcept(zeros[0]) < 0 ? (encoding with { ZeroFormat = null, Zero = zeros[0] }, null) : (encoding with { ZeroFormat = BlockFormats.I8 }, zeros);

    /// <summary>Parts by name, with zeros where there are some.</summary>
    protected static Dictionary<EncodedPart, byte[]> Parts(byte[] codes, byte[] scales, byte[]? zeros = null, int[]? columnOrder = null)
    {
        Dictionary<EncodedPart, byte[]> parts = new() { [EncodedPart.Codes] = codes, [EncodedPart.Scales] = scales };
        if (zeros is not null) parts.Add(EncodedPart.Zeros, zeros);
        if (columnOrder is not null) parts.Add(EncodedPart.ColumnOrder, System.Runtime.InteropServices.MemoryMarshal.AsBytes(columnOrder.AsSpan()).ToArray());
        return parts;
    }
}
