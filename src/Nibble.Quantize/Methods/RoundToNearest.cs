using Nibble.Core.Formats;

namespace Nibble.Quantize.Methods;

/// <summary>
/// Every weight by itself: the nearest code under a scale that follows from the largest magnitude or the range of its group, as GPTQ's baseline, bitsandbytes and LLM.int8 do; blocks of GGUF as llama-quantize
/// searches them, with importances where there are some.
/// </summary>
public sealed class RoundToNearest : RoundingMethod
{
    internal const string Word = "rtn";
    private const string BestWord = "best";

    /// <summary>Whether blocks are looked for longer than llama-quantize does (<see cref="BlockFormat.EncodeBest"/>).</summary>
    public bool IsBest { get; init; }

    /// <inheritdoc/>
    public override string Name => IsBest ? $"{Word}:{BestWord}" : Word;

    /// <inheritdoc/>
    public override bool Supports(TensorTarget target) => target is BlockTarget or TableTarget or Int8Target or GroupTarget { Zero: not GroupZero.Float };

    /// <inheritdoc/>
    public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
    {
        ArgumentNullException.ThrowIfNull(task);
        cancellation.ThrowIfCancellationRequested();
        return task.Target switch
        {
            BlockTarget blocks => Blocks(task, blocks.Format, cancellation),
            GroupTarget { Zero: not GroupZero.Float } group => NearestGroups.Round(task, group),
            TableTarget => NearestTable.Round(task),
            Int8Target => NearestInt8.Round(task),
            _ => throw NoTarget(task),
        };
    }

    internal static RoundToNearest? Read(ReadOnlySpan<string> words) => words switch
    {
        [] => new RoundToNearest(),
        [BestWord] => new RoundToNearest { IsBest = true },
        _ => null,
    };

    /// <summary>Encodes a row of blocks.</summary>
    /// <param name="format">The format.</param>
    /// <param name="row">[columns].</param>
    /// <param name="importance">[columns], or empty.</param>
    /// <param name="blocks">The row's bytes, overwritten.</param>
    internal void EncodeRow(BlockFormat format, ReadOnlySpan<float> row, ReadOnlySpan<float> importance, Span<byte> blocks)
    {
        if (IsBest) format.EncodeBest(row, importance, blocks);
        else format.EncodeRow(row, importance, blocks);
    }

    private RoundedMatrix Blocks(RoundingTask task, BlockFormat format, CancellationToken cancellation)
    {
        int rowBytes = (int)format.RowBytes(task.Columns);
        byte[] blocks = new byte[(long)rowBytes * task.Rows];
        Work.For(task.Rows, new ParallelOptions { CancellationToken = cancellation }, row =>
            EncodeRow(format, task.Weights.AsSpan(row * task.Columns, task.Columns), task.Importance, blocks.AsSpan(row * rowBytes, rowBytes)));
        return new RoundedMatrix(blocks);
    }
}
