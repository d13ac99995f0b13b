using Nibble.Core.Formats;
using Nibble.Core.Safetensors;

namespace Nibble.Quantize.Import;

/// <summary>Rows of a tensor of floats, which go into a GGUF file as they are stored.</summary>
/// <param name="Tensor">The tensor.</param>
/// <param name="FirstRow">The first of the rows, counted over all leading dimensions.</param>
/// <param name="Rows">Rows.</param>
/// <param name="Columns">Values of a row.</param>
internal sealed record FloatRows(SafetensorsTensor Tensor, long FirstRow, int Rows, int Columns)
{
    /// <summary>The types of floats that are read.</summary>
    public static ReadOnlySpan<SafetensorsType> Types => [SafetensorsType.F32, SafetensorsType.F16, SafetensorsType.BF16];

    /// <summary>How the values are stored.</summary>
    public BlockFormat Format => FormatOf(Tensor);

    /// <summary>The format that stores a tensor's values as they are.</summary>
    /// <exception cref="ImportException">Its type is no float that GGUF has.</exception>
    public static BlockFormat FormatOf(SafetensorsTensor tensor) => tensor.Type switch
    {
        SafetensorsType.F32 => BlockFormats.F32,
        SafetensorsType.F16 => BlockFormats.F16,
        SafetensorsType.BF16 => BlockFormats.BF16,
        _ => throw CheckpointFolder.Fault(tensor, "F32, F16 or BF16 is needed"),
    };

    /// <summary>All values of a tensor as float32.</summary>
    /// <exception cref="ImportException">Its type is no float that GGUF has.</exception>
    public static float[] Decode(SafetensorsTensor tensor)
    {
        float[] values = new float[checked((int)tensor.Count)];
        FormatOf(tensor).Decode(tensor.Bytes(), values);
        return values;
    }

    /// <summary>Writes the rows in an order.</summary>
    /// <param name="stream">Where to.</param>
    /// <param name="order">Which row comes at each place; null for as they are.</param>
    public void CopyTo(Stream stream, int[]? order)
    {
        int rowBytes = Columns * Tensor.Type.Bytes();
        for (int i = 0; i < Rows; i++)
            stream.Write(Tensor.Bytes((FirstRow + (order is null ? i : order[i])) * rowBytes, rowBytes));
    }
}
