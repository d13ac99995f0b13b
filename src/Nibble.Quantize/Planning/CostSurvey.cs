using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Quantize.Gradients;

namespace Nibble.Quantize.Planning;

/// <summary>Measures what errors of a model's tensors cost, by one gradient pass over a calibration text.</summary>
public static class CostSurvey
{
    // Changes when the same model, text and options give other costs than before.
    private const int Version = 2;

    /// <summary>What costs follow from: the model's bytes, the ids of every chunk, and how gradients are made.</summary>
    /// <param name="modelHash">See <see cref="ModelHash"/>.</param>
    /// <param name="textHash">See <see cref="TextHash"/>.</param>
    /// <param name="options">How; threads and memory do not count.</param>
    public static string Identity(string modelHash, string textHash, GradientOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        string text = string.Create(CultureInfo.InvariantCulture, $"{Version};fisher;{modelHash};{textHash};seed={options.Seed};groups={options.RowGroups}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));
    }

    /// <summary>The SHA-256 of a model's bytes; of a split one, of its parts' hashes.</summary>
    /// <param name="file">The model.</param>
    public static string ModelHash(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        List<byte[]> parts = [];
        foreach (string part in file.PartPaths)
        {
            using FileStream stream = File.OpenRead(part);
            parts.Add(SHA256.HashData(stream));
        }

        return Convert.ToHexStringLower(parts.Count == 1 ? parts[0] : SHA256.HashData(parts.SelectMany(part => part).ToArray()));
    }

    /// <summary>The SHA-256 of the ids of all chunks, each after its length, as little-endian int32.</summary>
    /// <param name="chunks">The chunks.</param>
    public static string TextHash(IReadOnlyList<int[]> chunks)
    {
        ArgumentNullException.ThrowIfNull(chunks);
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (int[] chunk in chunks)
        {
            hash.AppendData(BitConverter.GetBytes(chunk.Length));
            hash.AppendData(MemoryMarshal.AsBytes(chunk.AsSpan()));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Fills a store, unless it is filled already.</summary>
    /// <param name="decoder">The model's parts.</param>
    /// <param name="file">Its file.</param>
    /// <param name="chunks">Ids, chunk by chunk.</param>
    /// <param name="options">How.</param>
    /// <param name="store">The store.</param>
    /// <param name="progress">Told of each layer and chunk, or null.</param>
    /// <param name="cancellation">Looked at between chunks.</param>
    /// <exception cref="Calibration.CalibrationException">A logit or a gradient is no finite number.</exception>
    /// <exception cref="IOException">There is no place for states or costs.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public static void Run(
        PlainDecoder decoder, GgufFile file, IReadOnlyList<int[]> chunks, GradientOptions options, CostStore store, IProgress<GradientProgress>? progress, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(store);
        if (store.IsComplete) return;
        HeadStatistics head = GradientPass.Run(decoder, file, chunks, options, (_, weights) =>
        {
            foreach (FisherStatistics weight in weights)
                store.Write(TensorCost.Of(weight));
        }, progress, cancellation);
        store.Write(TensorCost.Of(decoder.Embedding.Weight, head, decoder.IsTied, isEmbedding: true));
        if (!decoder.IsTied) store.Write(TensorCost.Of(decoder.Output.Weight, head, isOutput: true, isEmbedding: false));
        store.Complete();
    }
}
