using System.Globalization;

namespace Nibble.Cli.Bench;

/// <summary>Lists of whole numbers as llama-bench takes them: <c>128,512</c>, <c>64-256+64</c>, <c>128-4096*2</c>, or an option that is repeated.</summary>
internal static class NumberList
{
    private const int MaxCount = 1000;

    /// <summary>Parses the values of an option.</summary>
    /// <param name="values">What was given.</param>
    /// <param name="option">The option, for messages.</param>
    /// <param name="lowest">The least number that is allowed.</param>
    /// <param name="highest">The largest.</param>
    /// <exception cref="UsageException">Something is no list of numbers in these bounds.</exception>
    public static List<int> Parse(IEnumerable<string> values, string option, int lowest, int highest)
    {
        List<int> numbers = [];
        foreach (string part in values.SelectMany(value => value.Split(',')))
        {
            (int first, int last, Func<long, long> next) = Range(part.Trim(), option);
            for (long number = first; number <= last; number = next(number))
            {
                if (number < lowest || number > highest) throw new UsageException($"{option} is {number}; it must be {lowest} to {highest}.");
                if (numbers.Count == MaxCount) throw new UsageException($"{option} lists more than {MaxCount} numbers; use a larger step.");
                numbers.Add((int)number);
            }
        }

        return numbers;
    }

    // "first", "first-last", "first-last+step" or "first-last*factor".
    private static (int First, int Last, Func<long, long> Next) Range(string text, string option)
    {
        int dash = text.IndexOf('-', StringComparison.Ordinal), sign = text.IndexOfAny(['+', '*']);
        if (dash <= 0)
        {
            int single = Number(text, text, option);
            return (single, single, number => number + 1);
        }

        int first = Number(text[..dash], text, option), last = Number(text[(dash + 1)..(sign > dash ? sign : text.Length)], text, option);
        int by = sign > dash ? Number(text[(sign + 1)..], text, option) : 1;
        bool isFactor = sign > dash && text[sign] == '*';
        if (first > last) throw new UsageException($"'{text}' ({option}) ends below its start; write the smaller number first.");
        if (isFactor ? by < 2 || first == 0 : by < 1) throw new UsageException($"'{text}' ({option}) never gets to its end; {(isFactor ? "start at 1 or more and use a factor of 2 or more" : "use a step of 1 or more")}.");
        return (first, last, isFactor ? number => number * by : number => number + by);
    }

    private static int Number(string text, string whole, string option) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number)
            ? number
            : throw new UsageException($"'{whole}' is no list of whole numbers ({option}); write 512, or 128,512, or 128-512+128, or 128-4096*2.");
}
