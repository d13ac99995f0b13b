using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Attention: pieces of (group of tokens, KV head, query heads), those with most positions first.</summary>
internal sealed unsafe class AttentionJob(CpuKernels kernels, Scratch[] scratch) : TeamJob
{
    // Queries that share the decoding of a tile.
    private const int GroupRows = 32;

    private AttentionArguments _arguments;
    private int _groups, _step;

    /// <summary>Multiplications, an estimate of the work.</summary>
    public long Work { get; private set; }

    /// <summary>Pieces.</summary>
    public int Parts { get; private set; }

    /// <summary>Describes the operation and reserves memory.</summary>
    public void Prepare(in AttentionArguments arguments, int threads)
    {
        _arguments = arguments;
        _arguments.GroupTokens = Math.Clamp(GroupRows / arguments.GroupHeads, 1, Math.Max(1, arguments.Tokens));
        _groups = (arguments.Tokens + _arguments.GroupTokens - 1) / _arguments.GroupTokens;

        // Units are query heads. Few pieces are cut evenly, even inside a KV head whose tiles are then decoded twice.
        int units = _groups * arguments.Layer.Heads * arguments.GroupHeads;
        _step = _groups * arguments.Layer.Heads >= 4 * threads ? arguments.GroupHeads : Math.Max(1, (units + threads - 1) / threads);
        Parts = (units + _step - 1) / _step;
        int window = arguments.Layer.Window, last = arguments.FirstPosition + arguments.Tokens;
        Work = (long)arguments.Tokens * (window == 0 ? last : Math.Min(window, last)) * arguments.Layer.Heads * arguments.GroupHeads * (arguments.Layer.KeySize + arguments.Layer.ValueSize);
        foreach (Scratch own in scratch)
            own.Reserve(_arguments.ScratchBytes);
    }

    public override void Run(int part, int parts, int thread)
    {
        // The pieces were fixed when the number of parts was; one part may hold several of them.
        int perGroup = _arguments.Layer.Heads * _arguments.GroupHeads, units = _groups * perGroup;
        int unit = Share(Parts, part, parts) * _step, end = Math.Min(units, Share(Parts, part + 1, parts) * _step);
        while (unit < end)
        {
            int group = _groups - 1 - (unit / perGroup), head = unit % perGroup, first = head % _arguments.GroupHeads;
            int heads = Math.Min(end - unit, _arguments.GroupHeads - first);
            int token = group * _arguments.GroupTokens;
            int tokens = Math.Min(_arguments.GroupTokens, _arguments.Tokens - token);
            kernels.Attention(in _arguments, scratch[thread].Pointer, head / _arguments.GroupHeads, token, tokens, first, heads);
            unit += heads;
        }
    }
}
