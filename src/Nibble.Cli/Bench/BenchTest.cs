using System.Globalization;
using Nibble.Core.Formats;

namespace Nibble.Cli.Bench;

/// <summary>One test of <c>nibble bench</c>: a prompt, or tokens one by one, or one after the other, behind tokens that are there already.</summary>
/// <param name="Prompt">Tokens of the prompt; 0 for none.</param>
/// <param name="Generated">Tokens one by one after it; 0 for none.</param>
/// <param name="Depth">Tokens that the context holds before.</param>
/// <param name="Kv">Format of keys and values.</param>
internal sealed record BenchTest(int Prompt, int Generated, int Depth, BlockFormat Kv)
{
    /// <summary>Tokens whose time is measured.</summary>
    public int Tokens => Prompt + Generated;

    /// <summary>Whether it only generates, so that weights are read once a token.</summary>
    public bool IsDecode => Prompt == 0;

    /// <summary>llama-bench's name: <c>pp512</c>, <c>tg128</c>, <c>pp512+tg128</c>, with <c> @ d4096</c> for a depth.</summary>
    public string Name
    {
        get
        {
            string name = Generated == 0 ? $"pp{Prompt}" : Prompt == 0 ? $"tg{Generated}" : $"pp{Prompt}+tg{Generated}";
            return Depth == 0 ? name : name + string.Create(CultureInfo.InvariantCulture, $" @ d{Depth}");
        }
    }
}

/// <summary>What is the same for all tests of a loaded model.</summary>
internal sealed record BenchSetup
{
    /// <summary>The file.</summary>
    public required string FileName { get; init; }

    /// <summary>Architecture, size and the format of most bytes, such as <c>llama 1.1B Q4_0</c>.</summary>
    public required string ModelType { get; init; }

    /// <summary>Bytes of all tensors.</summary>
    public required long ModelBytes { get; init; }

    /// <summary>Values of all tensors.</summary>
    public required long Parameters { get; init; }

    /// <summary>Tokens of a prompt that are evaluated together.</summary>
    public required int Batch { get; init; }

    /// <summary>Threads.</summary>
    public required int Threads { get; init; }

    /// <summary>The device, as llama-bench spells it: <c>CPU</c>.</summary>
    public required string Backend { get; init; }

    /// <summary>Layers on a GPU, the output counted as one.</summary>
    public required int GpuLayers { get; init; }

    /// <summary>The CPU instruction path; empty where there is none.</summary>
    public required string CpuPath { get; init; }

    /// <summary>Whether products are exact.</summary>
    public required bool IsExact { get; init; }

    /// <summary>What the device says about itself.</summary>
    public required string Description { get; init; }

    /// <summary>Bytes of the matrices that a token alone is multiplied with.</summary>
    public required long TokenWeightBytes { get; init; }
}

/// <summary>What a test gave.</summary>
/// <param name="Setup">The model and how it was loaded.</param>
/// <param name="Test">The test.</param>
/// <param name="Time">When it started, UTC.</param>
/// <param name="Samples">Nanoseconds of each repetition.</param>
/// <param name="KvBytes">Bytes of keys and values that a generated token reads, on average; 0 where the test does not only generate.</param>
/// <param name="ReadBandwidth">Bytes a second that the threads read from memory, measured right before and after; null where the device has no such measure or the test does not only generate.</param>
internal sealed record BenchResult(BenchSetup Setup, BenchTest Test, DateTime Time, IReadOnlyList<long> Samples, double KvBytes, double? ReadBandwidth)
{
    /// <summary>Tokens a second of each repetition.</summary>
    public IReadOnlyList<double> Speeds { get; } = [.. Samples.Select(sample => 1e9 * Test.Tokens / sample)];

    /// <summary>Mean of the samples, in nanoseconds.</summary>
    public long MeanNanoseconds => (long)Samples.Average();

    /// <summary>Standard deviation of the samples, in nanoseconds.</summary>
    public long DeviationNanoseconds => (long)Deviation([.. Samples.Select(sample => (double)sample)]);

    /// <summary>Mean of the speeds, in tokens a second.</summary>
    public double MeanSpeed => Speeds.Average();

    /// <summary>Standard deviation of the speeds.</summary>
    public double SpeedDeviation => Deviation(Speeds);

    /// <summary>Bytes that a generated token reads: matrices as they are in the file, keys and values. Null where the test does not only generate.</summary>
    public double? TokenBytes => Test.IsDecode ? Setup.TokenWeightBytes + KvBytes : null;

    /// <summary>Bytes that are read a second; null as <see cref="TokenBytes"/>.</summary>
    public double? BytesPerSecond => TokenBytes * MeanSpeed;

    /// <summary>The share of <see cref="ReadBandwidth"/> that is used.</summary>
    public double? ReadShare => BytesPerSecond / ReadBandwidth;

    // Of a sample: n - 1 in the divisor, 0 for a single value.
    private static double Deviation(IReadOnlyList<double> values)
    {
        if (values.Count < 2) return 0;
        double mean = values.Average();
        return Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (values.Count - 1));
    }
}
