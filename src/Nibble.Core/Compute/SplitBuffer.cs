namespace Nibble.Core.Compute;

/// <summary>The two memories of a <see cref="SplitBackend"/>.</summary>
[Flags]
internal enum Sides
{
    /// <summary>Neither.</summary>
    None = 0,

    /// <summary>The host's.</summary>
    Host = 1,

    /// <summary>The device's.</summary>
    Device = 2,

    /// <summary>Both.</summary>
    Both = 3,
}

/// <summary>Activations that may be in either memory. Each is allocated when it is first used; of every element it is known where its newest value is.</summary>
internal sealed class SplitBuffer(SplitBackend owner, ElementType type, int rows, int columns) : TensorBuffer(type, (long)rows * columns)
{
    // Elements from a start to the next segment's, and where they are as they should be. New memory is 0 on both sides.
    private readonly List<(long Start, Sides Fresh)> _segments = [(0, Sides.Both)];
    private TensorBuffer? _host, _device;

    /// <summary>The buffer of a tensor.</summary>
    /// <exception cref="ArgumentException">It belongs to another backend.</exception>
    public static SplitBuffer Of(Tensor tensor) =>
        tensor.Buffer as SplitBuffer ?? throw new ArgumentException($"a tensor of {tensor.Buffer?.GetType().Name ?? "no memory"} cannot be used by a backend of two devices.", nameof(tensor));

    /// <summary>The sides on which memory was allocated.</summary>
    public Sides Allocated => (_host is null ? Sides.None : Sides.Host) | (_device is null ? Sides.None : Sides.Device);

    /// <summary>The sides on which all of a view is as it should be.</summary>
    public Sides Fresh(Tensor view)
    {
        (long start, long end) = Range(view);
        Sides fresh = Fresh(start, end);
        return fresh == Sides.Both && Allocated != Sides.None ? Allocated : fresh;
    }

    /// <summary>A view in one side's memory, to be read: what is newer on the other side is copied.</summary>
    public Tensor Read(Sides side, Tensor view)
    {
        (long start, long end) = Range(view);
        Refresh(side, start, end);
        return new Tensor(Memory(side), view.Offset, view.Rows, view.Columns, view.Stride);
    }

    /// <summary>A view in one side's memory, to be overwritten.</summary>
    public Tensor Write(Sides side, Tensor view)
    {
        (long start, long end) = Range(view);
        if (view.Rows <= 1 || view.Stride == view.Columns || IsFresh(side, start, end)) Mark(start, end, side);
        else
        {
            // What lies between the rows stays where it is.
            for (int row = 0; row < view.Rows; row++, start += view.Stride)
                Mark(start, start + view.Columns, side);
        }

        return new Tensor(Memory(side), view.Offset, view.Rows, view.Columns, view.Stride);
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _host?.Dispose();
        _device?.Dispose();
    }

    private static (long Start, long End) Range(Tensor view) =>
        view.Rows == 0 || view.Columns == 0 ? (view.Offset, view.Offset) : (view.Offset, view.Offset + ((view.Rows - 1L) * view.Stride) + view.Columns);

    private TensorBuffer Memory(Sides side)
    {
        ref TensorBuffer? memory = ref (side == Sides.Host ? ref _host : ref _device);
        return memory ??= owner.On(side).Allocate(Type, rows, columns).Buffer;
    }

    private Sides Fresh(long start, long end)
    {
        Sides fresh = Sides.Both;
        for (int i = Find(start); i < _segments.Count && _segments[i].Start < end; i++)
            fresh &= _segments[i].Fresh;
        return fresh;
    }

    private bool IsFresh(Sides side, long start, long end) => (Fresh(start, end) & side) != 0;

    // The segment that an element is in.
    private int Find(long element)
    {
        int low = 0, high = _segments.Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if (_segments[middle].Start <= element) low = middle;
            else high = middle - 1;
        }

        return low;
    }

    private long End(int segment) => segment + 1 < _segments.Count ? _segments[segment + 1].Start : Length;

    private void Refresh(Sides side, long start, long end)
    {
        while (start < end)
        {
            int i = Find(start);
            long stop = Math.Min(end, End(i));
            if ((_segments[i].Fresh & side) == 0)
            {
                owner.Move(Type, Memory(_segments[i].Fresh), Memory(side), side, start, stop - start);
                Mark(start, stop, Sides.Both);
            }

            start = stop;
        }
    }

    private void Mark(long start, long end, Sides fresh)
    {
        if (start == end) return;
        int first = Cut(start), last = Cut(end);
        _segments.RemoveRange(first + 1, last - first - 1);
        _segments[first] = (start, fresh);
        if (first + 1 < _segments.Count && _segments[first + 1].Fresh == fresh) _segments.RemoveAt(first + 1);
        if (first > 0 && _segments[first - 1].Fresh == fresh) _segments.RemoveAt(first);
    }

    // The segment that starts at an element, made where there is none; their number for the end.
    private int Cut(long element)
    {
        if (element == Length) return _segments.Count;
        int i = Find(element);
        if (_segments[i].Start == element) return i;
        _segments.Insert(i + 1, (element, _segments[i].Fresh));
        return i + 1;
    }
}
