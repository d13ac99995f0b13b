using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class SymbolMergerTests(ITestOutputHelper output)
{
    private const int Seed = 5;

    private readonly struct TableRules(Dictionary<(int, int), (uint, int)> table) : IMergeRules
    {
        public bool TryMerge(ReadOnlySpan<byte> text, int left, int right, out uint priority, out int merged)
        {
            bool found = table.TryGetValue((left, right), out (uint Priority, int Merged) value);
            (priority, merged) = value;
            return found;
        }
    }

    [Fact]
    public void Merging_by_heap_equals_merging_the_best_pair_over_and_over()
    {
        output.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        using SymbolMerger merger = new();
        for (int round = 0; round < 2000; round++)
        {
            Dictionary<(int, int), (uint, int)> table = [];
            for (int i = random.Next(20); i > 0; i--) table[(random.Next(8), random.Next(8))] = ((uint)random.Next(6), random.Next(8));
            int[] symbols = [.. Enumerable.Range(0, random.Next(1, 40)).Select(_ => random.Next(3))];
            byte[] lengths = [.. symbols.Select(_ => (byte)random.Next(1, 4))];
            byte[] text = new byte[lengths.Sum(l => l)];
            TableRules rules = new(table);
            merger.Merge(text, symbols, lengths, ref rules);

            List<(int Symbol, int Length)> actual = [];
            for (int place = 0; place < text.Length; place += actual[^1].Length) actual.Add((merger.SymbolAt(place, out int length), length));
            Assert.Equal(Reference(symbols, lengths, table), actual);
        }
    }

    private static List<(int Symbol, int Length)> Reference(int[] symbols, byte[] lengths, Dictionary<(int, int), (uint Priority, int Merged)> table)
    {
        List<(int Symbol, int Length)> list = [.. symbols.Zip(lengths, (s, l) => (s, (int)l))];
        while (true)
        {
            int best = -1;
            uint bestPriority = uint.MaxValue;
            for (int i = 0; i + 1 < list.Count; i++)
                if (table.TryGetValue((list[i].Symbol, list[i + 1].Symbol), out (uint Priority, int Merged) value) && value.Priority < bestPriority)
                    (best, bestPriority) = (i, value.Priority);
            if (best < 0) return list;
            list[best] = (table[(list[best].Symbol, list[best + 1].Symbol)].Merged, list[best].Length + list[best + 1].Length);
            list.RemoveAt(best + 1);
        }
    }
}
