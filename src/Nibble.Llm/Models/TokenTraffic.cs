using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Llm.Layers;

namespace Nibble.Llm.Models;

/// <summary>What is read from memory for one token that is evaluated alone: the bound of generation.</summary>
public static class TokenTraffic
{
    /// <summary>Bytes of the matrices, as they are in the file, that a token is multiplied with; of experts those of the ones that it chooses.</summary>
    /// <param name="model">The model.</param>
    public static long WeightBytes(LanguageModel model)
    {
        ArgumentNullException.ThrowIfNull(model);
        return model.Decoder.TokenWeightBytes;
    }

    /// <summary>Bytes of keys and values that the attention of a token reads, its own included.</summary>
    /// <param name="model">The model.</param>
    /// <param name="position">The token's position.</param>
    /// <param name="format">Format of keys and values.</param>
    /// <exception cref="ArgumentException">The format does not suit the model's heads.</exception>
    public static long KvBytes(LanguageModel model, int position, BlockFormat format)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(format);
        long bytes = 0;
        foreach (DecoderLayer layer in model.Decoder.Layers)
            foreach (int index in layer.Mixer?.KvIndices ?? [])
            {
                KvLayer kv = model.Decoder.Sequence.Kv[index];
                bytes += (position + 1L - kv.FirstVisible(position)) * kv.Heads * (format.RowBytes(kv.KeySize) + format.RowBytes(kv.ValueSize));
            }

        return bytes;
    }
}
