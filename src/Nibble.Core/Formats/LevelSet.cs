namespace Nibble.Core.Formats;

/// <summary>The levels that the codes of a format stand for, before a scale: code 0 the lowest.</summary>
internal sealed class LevelSet
{
    private readonly float[] _levels, _between;
    private readonly bool _isEven;

    private LevelSet(float[] levels, bool isEven)
    {
        _levels = levels;
        _isEven = isEven;
        _between = new float[levels.Length - 1];
        for (int i = 0; i < _between.Length; i++) _between[i] = (levels[i] + levels[i + 1]) / 2;
    }

    /// <summary>The non-linear table of IQ4_NL and IQ4_XS.</summary>
    public static LevelSet Iq4Nl { get; } = new(Array.ConvertAll(Codebooks.Iq4Nl.ToArray(), level => (float)level), isEven: false);

    /// <summary>[levels] ascending.</summary>
    public ReadOnlySpan<float> Levels => _levels;

    /// <summary>[levels - 1] where the nearest level changes.</summary>
    public ReadOnlySpan<float> Between => _between;

    /// <summary>The largest magnitude of a level.</summary>
    public float Largest => MathF.Max(-_levels[0], _levels[^1]);

    /// <summary>Every whole number from <paramref name="low"/> to <paramref name="high"/>.</summary>
    public static LevelSet Even(int low, int high) => new([.. Enumerable.Range(low, high - low + 1).Select(level => (float)level)], isEven: true);

    /// <summary>The code of the nearest level.</summary>
    public int Nearest(float value) => _isEven ? Rounding.Nearest(value - _levels[0], 0, _levels.Length - 1) : TableSearch.NearestIq4Nl(value);
}
