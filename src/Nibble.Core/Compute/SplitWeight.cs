namespace Nibble.Core.Compute;

/// <summary>A weight that one of two backends multiplies with. Where an operation happens on the other side, that one takes it in, too.</summary>
internal sealed class SplitWeight : Weight
{
    private readonly SplitBackend _owner;
    private readonly IWeightSource _source;
    private readonly float[] _scales;
    private Weight? _host, _device;

    public SplitWeight(SplitBackend owner, IWeightSource source, ReadOnlySpan<float> scales, Sides home)
        : base(source)
    {
        (_owner, _source, _scales, Home) = (owner, source, scales.ToArray(), home);
        On(home);
    }

    /// <summary>The side on which operations with it happen.</summary>
    public Sides Home { get; private set; }

    /// <summary>Whether a side has taken it in.</summary>
    public bool Has(Sides side) => (side == Sides.Host ? _host : _device) is not null;

    /// <summary>The weight as this class.</summary>
    /// <exception cref="ArgumentException">It belongs to another backend.</exception>
    public static SplitWeight Of(Weight weight) =>
        weight as SplitWeight ?? throw new ArgumentException($"{weight?.Name} was uploaded to another backend.", nameof(weight));

    /// <summary>The weight as a side has it.</summary>
    public Weight On(Sides side)
    {
        ref Weight? weight = ref (side == Sides.Host ? ref _host : ref _device);
        return weight ??= _owner.On(side).Upload(_source, _scales);
    }

    /// <summary>Makes a side its home.</summary>
    public void MoveTo(Sides side)
    {
        On(side);
        Home = side;
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing) return;
        _host?.Dispose();
        _device?.Dispose();
    }
}
