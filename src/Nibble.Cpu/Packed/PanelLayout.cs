namespace Nibble.Cpu.Packed;

/// <summary>Where the fields of 16 unpacked rows of 32 columns lie: what one format's tile becomes before more than one token is multiplied with it.</summary>
internal static class PanelLayout
{
    /// <summary>[16] float32 after the [8 groups x 64] codes.</summary>
    public const int Scales = 512;

    /// <summary>[16] float32.</summary>
    public const int Minima = 576;

    /// <summary>[2 x 16] pairs of equal 16-bit whole scales, of <see cref="CodeKind.Groups"/>.</summary>
    public const int GroupScales = 640;

    /// <summary>[16] pairs of 16-bit whole minima, of <see cref="CodeKind.Groups"/>.</summary>
    public const int GroupMinima = 768;

    /// <summary>Bytes of a run of 32 columns.</summary>
    public const int Bytes = 832;
}
