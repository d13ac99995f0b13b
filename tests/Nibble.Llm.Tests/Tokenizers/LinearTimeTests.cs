using System.Diagnostics;
using System.Text;
using Nibble.Llm.Tokenizers;
using Nibble.Llm.Tokenizers.PreTokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

/// <summary>Four times the text takes far less than sixteen times the time, for texts that trap naive matchers.</summary>
public class LinearTimeTests(ITestOutputHelper output)
{
    private const double Bound = 12;

    // Milliseconds that another process may take away at any time; quadratic time needs thousands for the longer text.
    private const double Noise = 5;

    private static readonly string[] Words = ["a", " ", "\n", "!", "\u4E2D", "<|", "<|im_end|>", "<s>", "</s"];

    private static readonly string[] Traps =
    [
        "a", "A", "Ab", " ", "1", "'", "\u4E2D", "\u4E2DA", "\n", " \n", " a", "a b ", "\t ", "!", "/", "e\u0301", "\u0301", "<|", "<|im_end|>", "<s>", "</s", "IMGIMGA", "<sentinel:1", "\U0001F600", "\u00A0",
    ];

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-spm")]
    [InlineData("bert-bge")]
    [InlineData("smollm2")]
    [InlineData("llama-bpe")]
    public void Encoding_1_MiB_takes_time_linear_in_its_length(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        List<int> ids = [];
        Check(Words, 256 << 10, text => Encode(text, true), text => text);

        void Encode(string text, bool parseSpecial)
        {
            ids.Clear();
            tokenizer.Encode(text, parseSpecial, ids);
        }
    }

    [Fact]
    public void Every_pre_tokenizer_takes_time_linear_in_the_texts_length()
    {
        List<int> ends = [];
        foreach (IGrouping<PreTokenizer, string> group in PreTokenizerTable.Names.GroupBy(n => PreTokenizerTable.Find(n).PreTokenizer))
        {
            output.WriteLine(string.Join(' ', group));
            Check(Traps, 32 << 10, utf8 => group.Key.Split(utf8, ends), Encoding.UTF8.GetBytes);
        }
    }

    private void Check<T>(string[] traps, int chars, Action<T> run, Func<string, T> prepare)
    {
        run(prepare("warm up"));
        foreach (string trap in traps)
        {
            T small = prepare(string.Concat(Enumerable.Repeat(trap, chars / trap.Length)) + "x");
            T large = prepare(string.Concat(Enumerable.Repeat(trap, 4 * chars / trap.Length)) + "x");
            double best = double.MaxValue, smallMs = 0, largeMs = 0;

            // Another process may take the processor in between: one calm try is enough.
            for (int i = 0; i < 20 && best >= Bound; i++)
            {
                smallMs = Time(() => run(small));
                largeMs = Time(() => run(large));
                best = Math.Min(best, largeMs / Math.Max(smallMs, Noise));
            }

            output.WriteLine($"  {trap,-12} {smallMs,8:F1} ms {largeMs,8:F1} ms");
            Assert.True(best < Bound, $"'{trap}' repeated: {chars} characters take {smallMs:F1} ms, four times as many {largeMs:F1} ms.");
        }
    }

    private static double Time(Action action)
    {
        long start = Stopwatch.GetTimestamp();
        action();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }
}
