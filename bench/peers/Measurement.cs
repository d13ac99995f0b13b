namespace Peers;

/// <summary>What is timed: tokens read at once, or one after the other.</summary>
internal enum TestKind
{
    /// <summary>llama-bench's pp: a prompt, of which only the last token gives logits.</summary>
    Prefill,

    /// <summary>llama-bench's tg: tokens one by one, each with its logits. None is chosen, the next id is drawn beforehand.</summary>
    Decode,
}

/// <summary>A test.</summary>
/// <param name="Kind">What is timed.</param>
/// <param name="Tokens">How many tokens.</param>
internal sealed record Test(TestKind Kind, int Tokens)
{
    /// <summary>As llama-bench calls it.</summary>
    /// <param name="depth">Positions that the context holds before.</param>
    public string Name(int depth) => $"{(Kind == TestKind.Prefill ? "pp" : "tg")}{Tokens}" + (depth > 0 ? $" @ d{depth}" : string.Empty);
}

/// <summary>Tests that share a loaded model.</summary>
/// <param name="Model">The GGUF file.</param>
/// <param name="Threads">Threads of each side.</param>
/// <param name="Kv">Format of keys and values, in lower case.</param>
/// <param name="Depth">Positions that the context holds before each test.</param>
/// <param name="Tests">The tests, done in this order in each turn.</param>
internal sealed record Group(string Model, int Threads, string Kv, int Depth, Test[] Tests)
{
    /// <summary>Positions that a context needs.</summary>
    public int Positions => Depth + Tests.Max(test => test.Tokens);

    /// <summary>The model's name in tables.</summary>
    public string ModelName => Path.GetFileNameWithoutExtension(Model);
}

/// <summary>What a side says of itself when it has loaded a model.</summary>
/// <param name="Description">How it computes, and which buffers took the weights.</param>
/// <param name="LoadSeconds">From the start of its loading to its end; null where it does not say.</param>
/// <param name="LoadPeakBytes">The most memory that is no mapped file (RssAnon) while it loaded; null where it does not say.</param>
/// <param name="AnonymousBytes">Such memory after the last test; null where it does not say.</param>
/// <param name="WeightBytes">Bytes of the matrices that a token is multiplied with; null where it does not say.</param>
/// <param name="KvBytesPerPosition">Bytes of keys and values of a position; null where it does not say.</param>
internal sealed record Loaded(string Description, double? LoadSeconds = null, long? LoadPeakBytes = null, long? AnonymousBytes = null, long? WeightBytes = null, double? KvBytesPerPosition = null);

/// <summary>A side's rates in a group.</summary>
/// <param name="Side">The side's name.</param>
/// <param name="Loaded">What it said of itself; null when it failed before.</param>
/// <param name="Rates">For each test of the group tokens per second, one for each round; for the read bandwidth one row of bytes per second. Empty where the side cannot do the test.</param>
/// <param name="Error">Why it failed; null when it did not.</param>
internal sealed record SideResult(string Side, Loaded? Loaded, double[][] Rates, string? Error)
{
    /// <summary>The median rate of a test, or null.</summary>
    public double? Median(int test) => Error is null && Rates[test].Length > 0 ? Statistics.Median(Rates[test]) : null;
}

/// <summary>All that was measured of a group.</summary>
/// <param name="Group">The group.</param>
/// <param name="Sides">Results of every side, the read bandwidth last.</param>
internal sealed record GroupResult(Group Group, SideResult[] Sides)
{
    /// <summary>A side's result, or null.</summary>
    public SideResult? Find(string side) => Array.Find(Sides, result => result.Side == side);

    /// <summary>The faster of llama.cpp's builds in a test, or null.</summary>
    public SideResult? Peer(int test) =>
        Sides.Where(result => result.Side is SideNames.Npm or SideNames.Native && result.Median(test) is not null).MaxBy(result => result.Median(test));
}

/// <summary>The names of the sides.</summary>
internal static class SideNames
{
    public const string Nibble = "nibble", Npm = "npm", Native = "native", Ik = "ik", Bandwidth = "bandwidth";
}

/// <summary>Statistics of few values.</summary>
internal static class Statistics
{
    /// <summary>The middle value, or the mean of the two middle ones.</summary>
    /// <param name="values">At least one.</param>
    public static double Median(IReadOnlyCollection<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Half of the distance between the largest and the smallest value, as a share of the median.</summary>
    /// <param name="values">At least one.</param>
    public static double Spread(IReadOnlyCollection<double> values) => (values.Max() - values.Min()) / 2 / Median(values);
}
