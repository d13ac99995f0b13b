using System.Globalization;
using System.Reflection;

namespace ArchitectureSuite;

/// <summary>What both programs are asked.</summary>
internal static class Prompt
{
    /// <summary>How many ids greedy decoding starts from.</summary>
    public const int GreedyPrompt = 16;

    /// <summary>How many ids greedy decoding appends.</summary>
    public const int GreedyCount = 24;

    /// <summary>Positions of a context: the size that libllama rounds up to, and no more than the suite's models have position embeddings for.</summary>
    public const int Context = 256;

    /// <summary>Tokens that libllama decodes together at most; all of a prompt.</summary>
    public const int Batch = 512;

    /// <summary>The ids whose logits are compared, tests/golden/architectures/tokens.txt.</summary>
    public static int[] Ids { get; } = Read();

    /// <summary>The first ids, which greedy decoding starts from.</summary>
    public static ReadOnlySpan<int> GreedyIds => Ids.AsSpan(0, GreedyPrompt);

    /// <summary>Ids separated by commas.</summary>
    public static int[] Parse(string text) => [.. text.Split(',').Select(id => int.Parse(id, CultureInfo.InvariantCulture))];

    /// <summary>The index of the highest logit, the first of equal ones.</summary>
    public static int Best(ReadOnlySpan<float> logits)
    {
        int best = 0;
        for (int id = 1; id < logits.Length; id++)
            if (logits[id] > logits[best]) best = id;
        return best;
    }

    private static int[] Read()
    {
        using StreamReader reader = new(Assembly.GetExecutingAssembly().GetManifestResourceStream("tokens.txt")!);
        return Parse(reader.ReadToEnd());
    }
}
