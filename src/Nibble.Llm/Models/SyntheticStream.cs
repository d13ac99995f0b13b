using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Llm.Models;

/// <summary>Writes the tensors of a <see cref="SyntheticModel"/> in any format, some rows at a time, made by several threads. Each row has a seed of its own.</summary>
/// <param name="seed">Seed.</param>
/// <param name="threads">Threads.</param>
/// <param name="written">Told how many bytes are written.</param>
/// <param name="cancellation">Stops it.</param>
internal sealed class SyntheticStream(ulong seed, int threads, Action<long> written, CancellationToken cancellation)
{
    private const int BufferBytes = 8 << 20;

    private byte[] _buffer = [];
    private long _written;

    /// <summary>Writes all rows of a tensor.</summary>
    public void Write(Stream output, SyntheticTensor tensor, BlockFormat format)
    {
        int rowBytes = checked((int)format.RowBytes(tensor.Columns));
        long rows = (long)tensor.Rows * tensor.Matrices;
        int rowsAtOnce = (int)Math.Min(rows, Math.Max(1, BufferBytes / rowBytes));
        if (_buffer.Length < rowsAtOnce * rowBytes) _buffer = new byte[rowsAtOnce * rowBytes];
        ulong tensorSeed = SyntheticSeed.Of(tensor.Name, seed);
        bool isVector = tensor.Use == Operation.Vector;
        bool isGain = isVector && tensor.Name.Contains("norm", StringComparison.Ordinal) && tensor.Name.EndsWith(".weight", StringComparison.Ordinal);
        // Vectors, few and short, have laws of their own, which go from row to row.
        SyntheticWeights? vector = isVector && !isGain ? new SyntheticWeights(tensor.Name, tensor.Columns, seed) : null;
        for (long first = 0; first < rows; first += rowsAtOnce)
        {
            int count = (int)Math.Min(rowsAtOnce, rows - first);
            Memory<byte> chunk = _buffer.AsMemory(0, count * rowBytes);
            cancellation.ThrowIfCancellationRequested();
            if (isGain) MemoryMarshal.Cast<byte, float>(chunk.Span).Fill(1);
            else if (vector is not null) Fill(MemoryMarshal.Cast<byte, float>(chunk.Span), vector);
            else FillRows(chunk, tensor.Columns, rowBytes, format, tensorSeed, first);
            output.Write(chunk.Span);
            _written += chunk.Length;
            written(_written);
        }
    }

    private static void Fill(Span<float> values, SyntheticWeights weights)
    {
        foreach (ref float value in values)
            value = weights.Next();
    }

    private void FillRows(Memory<byte> chunk, int columns, int rowBytes, BlockFormat format, ulong tensorSeed, long first)
    {
        double deviation = 1 / Math.Sqrt(columns);
        Parallel.For(0, chunk.Length / rowBytes, new ParallelOptions { MaxDegreeOfParallelism = threads, CancellationToken = cancellation }, row =>
            RandomBlocks.Fill(format, chunk.Span.Slice(row * rowBytes, rowBytes), deviation, SyntheticSeed.OfRow(tensorSeed, first + row)));
    }
}
