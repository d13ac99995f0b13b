using System.Globalization;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;

namespace Nibble.Cli.Kernels;

/// <summary>The size of a matrix.</summary>
/// <param name="Rows">Outputs.</param>
/// <param name="Columns">Inputs.</param>
internal sealed record KernelShape(int Rows, int Columns)
{
    /// <summary>Most rows or columns.</summary>
    public const int Most = 1 << 20;

    /// <summary>Columns are a multiple of this, and of the format's block.</summary>
    public const int ColumnUnit = 32;

    /// <summary>Reads <c>RxC</c>.</summary>
    /// <exception cref="UsageException">It is no shape.</exception>
    public static KernelShape Parse(string text)
    {
        string[] sizes = text.Split('x', 'X');
        if (sizes.Length != 2 || !int.TryParse(sizes[0], NumberStyles.None, CultureInfo.InvariantCulture, out int rows) || !int.TryParse(sizes[1], NumberStyles.None, CultureInfo.InvariantCulture, out int columns))
            throw new UsageException($"'{text}' is no shape (--shape); write ROWSxCOLUMNS, such as 2048x2048.");
        if (rows is < 2 or > Most || columns is < 1 or > Most)
            throw new UsageException($"'{text}' (--shape) has {rows} rows and {columns} columns; a matrix has 2 to {Most} rows and at most as many columns.");
        return new KernelShape(rows, columns);
    }

    /// <summary>Checks that a format has such rows.</summary>
    /// <exception cref="UsageException">It has not.</exception>
    public void Check(BlockFormat format)
    {
        try
        {
            RandomEncodings.Find(format.Name, Columns, Rows)?.Check();
        }
        catch (ArgumentException error)
        {
            throw new UsageException($"{this} (--shape): {error.Message} Give another shape, or other formats (--format).");
        }

        int unit = Math.Max(ColumnUnit, format.BlockValues);
        if (Columns % unit != 0)
            throw new UsageException($"{this} (--shape) has {Columns} columns; {format} needs a multiple of {unit}. Give another shape, or other formats (--format).");
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Rows}x{Columns}");
}

/// <summary>What the threads do at most: the mean of what was measured right before and after the kernels of a format.</summary>
/// <param name="ReadBytes">Bytes a second that they read from memory.</param>
/// <param name="Macs">Multiplications with addition a second on registers.</param>
internal sealed record KernelPeaks(double ReadBytes, double Macs);

/// <summary>What a kernel gave: products of tokens and matrices of a format and shape.</summary>
internal sealed record KernelResult
{
    /// <summary>The device.</summary>
    public required string Device { get; init; }

    /// <summary>What the device says about itself.</summary>
    public required string Description { get; init; }

    /// <summary>The instruction path.</summary>
    public required string Path { get; init; }

    /// <summary>Threads, or compute units of a GPU.</summary>
    public required int Threads { get; init; }

    /// <summary>The instructions that multiply.</summary>
    public required string Instructions { get; init; }

    /// <summary>The format.</summary>
    public required BlockFormat Format { get; init; }

    /// <summary>The matrix.</summary>
    public required KernelShape Shape { get; init; }

    /// <summary>Tokens multiplied together.</summary>
    public required int Tokens { get; init; }

    /// <summary>Matrices that took turns.</summary>
    public required int Copies { get; init; }

    /// <summary>Bytes of a matrix as products read it.</summary>
    public required long WeightBytes { get; init; }

    /// <summary>Whether the matrices together are larger than the caches, so that each is read from memory.</summary>
    public required bool IsFromMemory { get; init; }

    /// <summary>Seconds of a product, of each repetition.</summary>
    public required IReadOnlyList<double> Samples { get; init; }

    /// <summary>What is possible.</summary>
    public required KernelPeaks Peaks { get; init; }

    /// <summary>Bytes of a matrix in a file.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Multiplications with addition in a product.</summary>
    public double Macs => (double)Shape.Rows * Shape.Columns * Tokens;

    /// <summary>The median of the samples, in seconds.</summary>
    public double Seconds => Median(Samples);

    /// <summary>Multiplications with addition a second.</summary>
    public double MacsPerSecond => Macs / Seconds;

    /// <summary>Bytes of weights a second.</summary>
    public double BytesPerSecond => WeightBytes / Seconds;

    /// <summary>Multiplications with addition for a byte of weights.</summary>
    public double Intensity => Macs / WeightBytes;

    /// <summary>The share of the memory's read speed that is used; null where the caches have the weights.</summary>
    public double? ReadShare => IsFromMemory ? BytesPerSecond / Peaks.ReadBytes : null;

    /// <summary>The share of the multipliers' speed that is used.</summary>
    public double ComputeShare => MacsPerSecond / Peaks.Macs;

    /// <summary>Whether it is nearer to the memory's speed than to the multipliers'.</summary>
    public bool IsNearMemory => ReadShare > ComputeShare;

    /// <summary>The larger share.</summary>
    public double Share => IsNearMemory ? ReadShare!.Value : ComputeShare;

    /// <summary>The median.</summary>
    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
