using System.Buffers;

namespace Nibble.Llm.Tokenizers;

/// <summary>Which neighbouring symbols merge, and in what order.</summary>
internal interface IMergeRules
{
    /// <summary>Looks up a pair.</summary>
    /// <param name="text">The bytes of both symbols.</param>
    /// <param name="left">The left symbol.</param>
    /// <param name="right">The right symbol.</param>
    /// <param name="priority">The smaller, the sooner the pair merges.</param>
    /// <param name="merged">The symbol that it becomes.</param>
    bool TryMerge(ReadOnlySpan<byte> text, int left, int right, out uint priority, out int merged);
}

/// <summary>
/// Merges neighbouring symbols of a text until none merge any more: of all pairs the one with the smallest priority first, of equal ones
/// the leftmost. A linked list of symbols and a heap of pairs; n symbols take O(n log n). Its memory is pooled.
/// </summary>
internal sealed class SymbolMerger : IDisposable
{
    private int[] _symbols = [];
    private int[] _lengths = []; // in bytes; 0 for a symbol that was merged into its left neighbour
    private int[] _previous = [];
    private int[] _next = []; // places of symbols are offsets of their first byte
    private Pair[] _heap = [];
    private int _heapCount;

    /// <summary>A pair that may merge. It is outdated when the sizes of its symbols have changed.</summary>
    private readonly record struct Pair(ulong Key, int LengthBytes, int Merged)
    {
        public int Left => (int)(uint)Key;
    }

    /// <summary>Merges.</summary>
    /// <param name="text">The text, not empty.</param>
    /// <param name="symbols">The symbols at first.</param>
    /// <param name="lengths">The length of each in bytes; together they make up the text.</param>
    /// <param name="rules">What merges.</param>
    public void Merge<TRules>(ReadOnlySpan<byte> text, ReadOnlySpan<int> symbols, ReadOnlySpan<byte> lengths, ref TRules rules)
        where TRules : IMergeRules, allows ref struct
    {
        Reserve(text.Length);
        int place = 0, previous = -1;
        for (int i = 0; i < symbols.Length; i++)
        {
            _symbols[place] = symbols[i];
            _lengths[place] = lengths[i];
            _previous[place] = previous;
            previous = place;
            place += lengths[i];
            _next[previous] = place < text.Length ? place : -1;
        }

        _heapCount = 0;
        for (int left = 0; _next[left] >= 0; left = _next[left]) Offer(text, left, ref rules);
        while (_heapCount > 0)
        {
            Pair pair = Pop();
            int left = pair.Left, right = _next[left];
            if (_lengths[left] == 0 || right < 0 || _lengths[left] + _lengths[right] != pair.LengthBytes) continue;
            _symbols[left] = pair.Merged;
            _lengths[left] += _lengths[right];
            _lengths[right] = 0;
            _next[left] = _next[right];
            if (_next[left] >= 0)
            {
                _previous[_next[left]] = left;
                Offer(text, left, ref rules);
            }

            if (_previous[left] >= 0) Offer(text, _previous[left], ref rules);
        }
    }

    /// <summary>The symbol at a place, which is the offset of its first byte: 0, then each symbol's length further.</summary>
    public int SymbolAt(int place, out int lengthBytes)
    {
        lengthBytes = _lengths[place];
        return _symbols[place];
    }

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        Return(ref _symbols);
        Return(ref _lengths);
        Return(ref _previous);
        Return(ref _next);
        if (_heap.Length > 0) ArrayPool<Pair>.Shared.Return(_heap);
        _heap = [];
    }

    private static void Return(ref int[] array)
    {
        if (array.Length > 0) ArrayPool<int>.Shared.Return(array);
        array = [];
    }

    private void Reserve(int count)
    {
        if (_symbols.Length >= count) return;
        Dispose();
        _symbols = ArrayPool<int>.Shared.Rent(count);
        _lengths = ArrayPool<int>.Shared.Rent(_symbols.Length);
        _previous = ArrayPool<int>.Shared.Rent(_symbols.Length);
        _next = ArrayPool<int>.Shared.Rent(_symbols.Length);
        _heap = ArrayPool<Pair>.Shared.Rent(count);
    }

    private void Offer<TRules>(ReadOnlySpan<byte> text, int left, ref TRules rules)
        where TRules : IMergeRules, allows ref struct
    {
        int right = _next[left];
        int length = _lengths[left] + _lengths[right];
        if (rules.TryMerge(text.Slice(left, length), _symbols[left], _symbols[right], out uint priority, out int merged))
            Push(new Pair((ulong)priority << 32 | (uint)left, length, merged));
    }

    private void Push(Pair pair)
    {
        if (_heapCount == _heap.Length)
        {
            Pair[] larger = ArrayPool<Pair>.Shared.Rent(_heap.Length * 2);
            _heap.CopyTo(larger, 0);
            ArrayPool<Pair>.Shared.Return(_heap);
            _heap = larger;
        }

        int child = _heapCount++;
        while (child > 0)
        {
            int parent = (child - 1) / 2;
            if (_heap[parent].Key <= pair.Key) break;
            _heap[child] = _heap[parent];
            child = parent;
        }

        _heap[child] = pair;
    }

    private Pair Pop()
    {
        Pair top = _heap[0];
        Pair last = _heap[--_heapCount];
        int parent = 0;
        while (true)
        {
            int child = parent * 2 + 1;
            if (child >= _heapCount) break;
            if (child + 1 < _heapCount && _heap[child + 1].Key < _heap[child].Key) child++;
            if (last.Key <= _heap[child].Key) break;
            _heap[parent] = _heap[child];
            parent = child;
        }

        _heap[parent] = last;
        return top;
    }
}
