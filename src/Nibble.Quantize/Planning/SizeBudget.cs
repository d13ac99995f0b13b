using System.Globalization;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Planning;

/// <summary>How large a file may become: bytes of the whole file, or bits for each value of its tensors on average.</summary>
/// <param name="Bytes">Bytes of the file at most; null where bits count.</param>
/// <param name="BitsPerWeight">Bits of all tensors, divided by their values, at most; null where bytes count.</param>
public sealed record SizeBudget(long? Bytes, double? BitsPerWeight)
{
    // The longer suffixes first, since all end in B.
    private static readonly (string Suffix, double Factor)[] s_units =
    [
        ("KiB", 1024), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1L << 40), ("kB", 1e3), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1),
    ];

    /// <summary>A size of a file.</summary>
    /// <param name="text">Bytes, or a number with B, kB, KB, MB, GB, TB (powers of 1000), KiB, MiB, GiB or TiB (powers of 1024) behind it.</param>
    /// <exception cref="FormatException">It is none, or not positive.</exception>
    public static SizeBudget ParseSize(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        string number = text.Trim();
        double factor = 1;
        foreach ((string suffix, double unit) in s_units)
        {
            if (!number.EndsWith(suffix, StringComparison.Ordinal)) continue;
            number = number[..^suffix.Length].TrimEnd();
            factor = unit;
            break;
        }

        if (!decimal.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal value))
            throw new FormatException($"'{text}' is no size; write bytes, such as 3277696, or a number with a unit, such as 3GiB, 3.2GB or 650MiB.");
        decimal bytes = decimal.Floor(Math.Min(value, 1_000_000_000_000_000m) * (decimal)factor);
        if (bytes < 1 || bytes > long.MaxValue) throw new FormatException($"a file of '{text}' was asked for; it must have 1 byte or more, and less than 8 EiB.");
        return new SizeBudget((long)bytes, null);
    }

    /// <summary>A number of bits for each value.</summary>
    /// <param name="bits">Above 0, at most 32.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is not.</exception>
    public static SizeBudget OfBits(double bits)
    {
        if (!(bits is > 0 and <= 32)) throw new ArgumentOutOfRangeException(nameof(bits), $"{bits.ToString(CultureInfo.InvariantCulture)} bits a weight were asked for; it must be above 0 and at most 32, such as 4.5.");
        return new SizeBudget(null, bits);
    }

    /// <summary>Bytes that the tensors which something is chosen for may take.</summary>
    /// <param name="overhead">Bytes of everything else: for a file's size its other tensors, metadata and names, for bits its other tensors.</param>
    /// <param name="values">Values of all tensors.</param>
    public long TensorBytes(long overhead, long values) => (Bytes ?? (long)Math.Floor(BitsPerWeight!.Value * values / 8)) - overhead;

    /// <summary>Refuses what no mix of a model can keep, before anything is measured.</summary>
    /// <param name="file">The model.</param>
    /// <param name="overrides">Targets of tensors whose name a pattern is found in; the first that is found counts.</param>
    /// <exception cref="QuantizationException">The smallest file is larger, which the message tells in bytes and bits; or a pattern is found in no name.</exception>
    public void CheckLeast(GgufFile file, IReadOnlyList<(Regex Pattern, TensorTarget Target)> overrides)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(overrides);
        // It refuses patterns of nothing, and targets that do not fit.
        QuantizationPlan named = QuantizationPlan.Create(file, new PlanOptions { Type = FileType.Find(BlockFormats.Q8_0.Name), IsPure = true, Overrides = overrides });
        QuantizationPlan least = QuantizationPlan.Of(null, named.Tensors.Select(tensor => tensor with { Target = Least(tensor.Source) }));
        long bytes = new ModelQuantizer(file, least, null, null).FileBytes;
        double bits = 8.0 * least.Tensors.Sum(tensor => (tensor.ByteLength + file.Alignment - 1) / file.Alignment * file.Alignment) / least.ValueCount;
        if (Bytes is { } most ? most >= bytes : BitsPerWeight >= bits) return;
        throw new QuantizationException(string.Create(
            CultureInfo.InvariantCulture, $"{(Bytes is null ? string.Empty : "a file of at most ")}{this} {(Bytes is null ? "were" : "was")} asked for; the smallest that can be made has {bytes} bytes, {Math.Ceiling(1000 * bits) / 1000:F3} bits a weight. Ask for more."));

        TensorTarget Least(IWeightSource tensor)
        {
            if (!TensorNames.IsQuantizable(tensor)) return QuantizationPlan.Kept(tensor);
            int match = QuantizationPlan.Match(overrides, tensor.Name);
            return match >= 0 ? overrides[match].Target : MixPlanner.Formats(tensor).MinBy(format => format.RowBytes(tensor.Columns)) ?? QuantizationPlan.Kept(tensor);
        }
    }

    /// <inheritdoc/>
    public override string ToString() =>
        Bytes is { } bytes ? string.Create(CultureInfo.InvariantCulture, $"{bytes} bytes") : string.Create(CultureInfo.InvariantCulture, $"{BitsPerWeight} bits a weight");
}
