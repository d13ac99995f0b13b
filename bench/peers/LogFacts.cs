using System.Text.RegularExpressions;

namespace Peers;

/// <summary>What llama.cpp's log says about where the weights went.</summary>
internal static partial class LogFacts
{
    /// <summary>The buffers of weights with their sizes (<c>AMX model buffer size = 560.25 MiB</c>), and whether flash attention was chosen.</summary>
    /// <param name="log">The log.</param>
    public static IEnumerable<string> Of(string log) =>
        Buffer().Matches(log).Select(match => $"{match.Groups["name"].Value} {match.Groups["size"].Value} MiB").Distinct()
            .Concat(Flash().Matches(log).Select(match => $"flash attention {match.Groups["value"].Value}").TakeLast(1));

    [GeneratedRegex(@"(?<name>\S+) (?:model )?buffer size\s*=\s*(?<size>[\d.]+) MiB", RegexOptions.ExplicitCapture)]
    private static partial Regex Buffer();

    [GeneratedRegex(@"(?:Flash Attention |flash_attn\s*=\s*)(?<value>not supported|\w+)", RegexOptions.ExplicitCapture)]
    private static partial Regex Flash();
}
