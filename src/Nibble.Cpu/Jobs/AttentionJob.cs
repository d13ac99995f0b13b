using Nibble.Cpu.Kernels;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>
/// Attention, cut into groups of tokens and query heads. Where there are few groups, as for a single token, each is cut into chunks of positions, too, and the
/// thread that ends a group's last piece merges its chunks.
/// </summary>
internal sealed unsafe class AttentionJob(CpuKernels kernels, Scratch[] scratch) : TeamJob, IDisposable
{
    // Pairs of a token and a head that share the decoding of a tile: as many as leave each thread some groups, but no more than whose state stays in the second cache.
    private const int FewestRows = 128, MostRows = 256;

    private readonly Scratch _shared = new();
    private AttentionArguments _arguments;
    private int _tokens, _heads, _tokenGroups, _headGroups, _pieces;
    private int* _left;

    /// <summary>Multiplications, an estimate of the work.</summary>
    public long Work { get; private set; }

    /// <summary>Pieces.</summary>
    public int Parts { get; private set; }

    /// <summary>Describes the operation and reserves memory.</summary>
    public void Prepare(in AttentionArguments arguments, int threads)
    {
        _arguments = arguments;
        int tokens = arguments.Tokens, allHeads = arguments.Options.Heads, shared = arguments.GroupHeads, chunks = arguments.Chunks, wanted = 4 * threads;
        int rows = (int)Math.Clamp((long)tokens * allHeads / wanted, FewestRows, MostRows);

        // Whole KV heads while they fit, side by side as they are in memory; else fewer tokens; else fewer of the heads that share one.
        _heads = shared;
        _tokens = Math.Clamp(rows / shared, 1, tokens);
        while (_heads < allHeads && allHeads % (2 * _heads) == 0 && 2L * _heads * tokens <= rows)
            _heads *= 2;
        if (shared > rows) _heads = rows;
        Count();

        // Heads apart before the chunks are too few, and at last even inside a KV head, whose tiles are then decoded more than once.
        while (_tokenGroups * _headGroups * chunks < wanted && _heads > shared)
        {
            _heads /= 2;
            Count();
        }

        if (_tokenGroups * _headGroups * chunks < threads && _tokens > 1)
        {
            _tokens = Math.Max(1, tokens * _headGroups * chunks / threads);
            Count();
        }

        if (_tokenGroups * _headGroups * chunks < threads && shared > 1)
        {
            int parts = (threads + (_tokenGroups * _headGroups * chunks) - 1) / (_tokenGroups * _headGroups * chunks);
            _heads = Math.Max(1, (_heads + parts - 1) / parts);
            Count();
        }

        int groups = _tokenGroups * _headGroups;
        _pieces = groups >= wanted ? 1 : Math.Min(chunks, (wanted + groups - 1) / groups);
        Parts = groups * _pieces;
        _arguments.UnitRows = _tokens * _heads;
        int window = arguments.Layer.Window, last = arguments.FirstPosition + tokens;
        Work = (long)tokens * (window == 0 ? last : Math.Min(window, last)) * allHeads * (arguments.Layer.KeySize + arguments.Layer.ValueSize);
        foreach (Scratch own in scratch)
            own.Reserve(_arguments.ScratchBytes);
        if (_pieces == 1) return;
        long partials = (long)tokens * allHeads * chunks * arguments.PartialValues;
        _arguments.Partials = (float*)_shared.Reserve((partials + groups) * 4);
        _left = (int*)(_arguments.Partials + partials);
        new Span<int>(_left, groups).Fill(_pieces);
    }

    public override void Run(int part, int parts, int thread)
    {
        // The pieces were fixed when the number of parts was; one part may hold several of them.
        int end = Share(Parts, part + 1, parts);
        for (int piece = Share(Parts, part, parts); piece < end; piece++)
        {
            (int group, int share) = Math.DivRem(piece, _pieces);
            AttentionUnit unit = Unit(group);
            byte* own = scratch[thread].Pointer;
            kernels.Attention(in _arguments, unit with { FirstChunk = unit.FirstChunk + Share(unit.Chunks, share, _pieces), Chunks = Share(unit.Chunks, share + 1, _pieces) - Share(unit.Chunks, share, _pieces) }, own);
            if (_pieces > 1 && Interlocked.Decrement(ref _left[group]) == 0) kernels.MergeAttention(in _arguments, in unit, own);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _shared.Dispose();

    private void Count()
    {
        _tokenGroups = (_arguments.Tokens + _tokens - 1) / _tokens;
        int shared = _arguments.GroupHeads;
        _headGroups = _heads >= shared ? _arguments.Options.Heads / _heads : _arguments.Layer.Heads * ((shared + _heads - 1) / _heads);
    }

    // A group with all chunks of the operation. Those that read the same keys and values follow one another, the tokens with most positions first.
    private AttentionUnit Unit(int group)
    {
        (int headGroup, int tokenGroup) = Math.DivRem(group, _tokenGroups);
        int token = (_tokenGroups - 1 - tokenGroup) * _tokens, shared = _arguments.GroupHeads, head = headGroup * _heads, heads = _heads;
        if (_heads < shared)
        {
            (int kvHead, int share) = Math.DivRem(headGroup, (shared + _heads - 1) / _heads);
            head = (kvHead * shared) + (share * _heads);
            heads = Math.Min(_heads, shared - (share * _heads));
        }

        return new AttentionUnit(token, Math.Min(_tokens, _arguments.Tokens - token), head, heads, _arguments.FirstChunk, _arguments.Chunks);
    }
}
