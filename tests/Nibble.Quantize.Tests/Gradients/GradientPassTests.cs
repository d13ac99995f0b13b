using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Gradients;

namespace Nibble.Quantize.Tests.Gradients;

/// <summary>The backward pass against the model's own loss, central differences of it, and direct sums.</summary>
public sealed unsafe class GradientPassTests
{
    private static readonly Dictionary<string, Specimen> Models = new()
    {
        ["llama"] = Find("llama"),
        ["llama.yarn"] = Find("llama.yarn"), // an output matrix of its own
        ["qwen2"] = Find("qwen2"), // biases
        ["qwen3"] = Find("qwen3"), // queries and keys normed head by head
        ["smollm3"] = Find("smollm3"), // layers without RoPE
        ["gemma2"] = Find("gemma2"), // capped scores and logits
        ["granite"] = Find("granite"), // scaled embeddings, scores, residuals and logits
        // Windows, norms behind attention and network, scaled embeddings, GELU.
        ["gemma3"] = new Specimen("gemma3", ("attention.layer_norm_rms_epsilon", 1f), ("attention.sliding_window", 12), ("rope.freq_base_swa", 300f)),
    };

    public static TheoryData<string> Names => [.. Models.Keys];

    [Theory]
    [MemberData(nameof(Names))]
    public void The_forward_pass_is_the_model_s(string name)
    {
        using GradientChain chain = new(Models[name]);
        int[] labels = Labels();
        double expected = chain.ModelLoss(Specimen.Prompt, labels);
        // GELU in half precision is no smooth function; the gradient's own one is.
        Assert.Equal(expected, chain.Run(chain.Embed(Specimen.Prompt), labels, new RandomSource(0)).Loss, name.StartsWith("gemma", StringComparison.Ordinal) ? 2e-3 * expected : 2e-6 * expected);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Gradients_are_central_differences_of_the_loss(string name)
    {
        using GradientChain chain = new(Models[name]);
        int[] labels = Labels();
        float[] embedded = chain.Embed(Specimen.Prompt);
        float[] gradient = chain.Run(embedded, labels, new RandomSource(0)).Gradient;
        double Loss(float[] states) => chain.Run(states, labels, new RandomSource(0)).Loss;

        (float[] direction, double along) = Direction(gradient.Select(value => (double)value).ToArray(), embedded, 17);
        Check("embedding", along, sign => Loss([.. embedded.Zip(direction, (a, b) => a + (sign * b))]));

        // What is asked of every weight is written down before a run overwrites it.
        List<(LinearGradient Linear, float[] Direction, double Slope)> expected = [];
        chain.Run(embedded, labels, new RandomSource(0));
        for (int layer = 0; layer < chain.Layers.Count; layer++)
        {
            foreach ((LinearGradient linear, Matrix input, Matrix above) in chain.Linears(layer))
            {
                double[] slopes = new double[linear.Rows * linear.Columns];
                for (int t = 0; t < input.Rows; t++)
                    for (int row = 0; row < linear.Rows; row++)
                        for (int column = 0; column < linear.Columns; column++)
                            slopes[(row * linear.Columns) + column] += (double)above.Row(t)[row] * input.Row(t)[column];
                (float[] change, double slope) = Direction(slopes, linear.Values, expected.Count);
                expected.Add((linear, change, slope));
            }
        }

        foreach ((LinearGradient linear, float[] change, double slope) in expected)
            Check(linear.Linear.Weight, slope, sign => WithChange(linear, change, sign, () => Loss(embedded)));
    }

    [Theory]
    [InlineData("llama.yarn", 4)]
    [InlineData("qwen3", 2)]
    [InlineData("gemma3", 1)]
    public void What_is_collected_is_the_direct_sums(string name, int rowGroups)
    {
        using GradientChain chain = new(Models[name]);
        List<int[]> chunks = [Specimen.Prompt, Specimen.Prompt[20..61], [.. Specimen.Prompt.Reverse()]];
        int tokens = chunks.Sum(chunk => chunk.Length), width = chain.Decoder.Width;
        const ulong Seed = 5;
        Dictionary<string, double[]> hessians = [], squares = [];
        double[] hidden = new double[width * width], input = new double[width * width], spread = new double[chain.Head.Output.Rows], counts = new double[spread.Length];
        Dictionary<string, int> groups = [];
        for (int c = 0; c < chunks.Count; c++)
        {
            float[] gradient = chain.Run(chain.Embed(chunks[c]), [], new RandomSource((Seed << 32) + (ulong)c)).Gradient;
            for (int t = 0; t < chunks[c].Length; t++)
            {
                AddOuter(chain.Hidden.AsSpan(t * width, width), 1, hidden);
                AddOuter(gradient.AsSpan(t * width, width), chain.Decoder.EmbeddingScale * chain.Decoder.EmbeddingScale, input);
                counts[chunks[c][t]]++;
            }

            for (int i = 0; i < spread.Length; i++)
                spread[i] += chain.Spread[i];
            for (int layer = 0; layer < chain.Layers.Count; layer++)
            {
                int place = 0;
                foreach ((LinearGradient linear, Matrix x, Matrix above) in chain.Linears(layer))
                {
                    // Four heads on two.
                    int count = place++ switch { 0 or 4 or 5 => rowGroups, 6 => 1, _ => Math.Max(1, rowGroups / 2) }, rows = linear.Rows / count;
                    groups[linear.Linear.Weight] = count;
                    double[] sums = hessians.TryGetValue(linear.Linear.Weight, out double[]? known) ? known : hessians[linear.Linear.Weight] = new double[count * linear.Columns * linear.Columns];
                    double[] own = squares.TryGetValue(linear.Linear.Weight, out known) ? known : squares[linear.Linear.Weight] = new double[linear.Rows];
                    for (int t = 0; t < chunks[c].Length; t++)
                    {
                        for (int row = 0; row < linear.Rows; row++)
                            own[row] += (double)above.Row(t)[row] * above.Row(t)[row];
                        for (int g = 0; g < count; g++)
                        {
                            ReadOnlySpan<float> part = above.Row(t).Slice(g * rows, rows);
                            AddOuter(x.Row(t), Dot(part, part) / rows, sums.AsSpan(g * linear.Columns * linear.Columns, linear.Columns * linear.Columns));
                        }
                    }
                }
            }
        }

        int last = chain.Layers.Count;
        HashSet<string> seen = [];
        GradientOptions options = new() { Seed = Seed, RowGroups = rowGroups, MemoryBytes = 1, Threads = 2 };
        HeadStatistics head = GradientPass.Run(chain.Decoder, chain.Model.File, chunks, options, (layer, weights) =>
        {
            Assert.Equal(--last, layer);
            foreach (FisherStatistics weight in weights)
            {
                seen.Add(weight.Weight);
                Assert.Equal(groups[weight.Weight], weight.Groups);
                double[] sums = hessians[weight.Weight];
                for (int g = 0; g < weight.Groups; g++)
                    AssertNear(sums.AsSpan(g * weight.Columns * weight.Columns, weight.Columns * weight.Columns), tokens, weight.Hessian(g), weight.Columns);
                for (int row = 0; row < weight.Rows; row++)
                {
                    Assert.Equal(squares[weight.Weight][row] / tokens, weight.RowSquares[row], 1e-5 * squares[weight.Weight][row] / tokens);
                    double mean = weight.RowSquares.Skip(row / weight.GroupRows * weight.GroupRows).Take(weight.GroupRows).Average();
                    Assert.Equal(weight.RowSquares[row] / mean, weight.RowFactor(row), 1e-5);
                }
            }
        }, null, TestContext.Current.CancellationToken);
        Assert.Equal(hessians.Keys.Order(), seen.Order());
        Assert.Equal(tokens, head.Tokens);
        AssertNear(hidden, tokens, head.Hidden, width);
        AssertNear(input, tokens, head.Input, width);
        for (int i = 0; i < spread.Length; i++)
        {
            Assert.Equal(spread[i] / tokens, head.Spread[i], 1e-6 * spread[i] / tokens);
            Assert.Equal(counts[i] / tokens, head.Shares[i], 1e-6);
        }
    }

    [Theory]
    [InlineData("llama")]
    [InlineData("gemma2")]
    [InlineData("granite")]
    public void Random_gradients_vary_as_those_of_drawn_tokens_do_and_the_sums_of_p_times_1_minus_p_are_their_definition(string name)
    {
        using GradientChain chain = new(Models[name]);
        int width = chain.Decoder.Width, vocabulary = chain.Head.Output.Rows;
        Random random = new(11);
        float[] state = [.. Enumerable.Range(0, width).Select(_ => random.NextSingle() - 0.5f)], hidden = new float[width];
        float[] direction = [.. Enumerable.Range(0, width).Select(_ => random.NextSingle() - 0.5f)];
        double[] spread = new double[vocabulary];
        (double Loss, double Slope) Run(int[] labels, ulong seed)
        {
            float[] gradient = [.. state];
            Array.Clear(spread);
            fixed (float* values = gradient, read = hidden)
                return (chain.Head.Run(new Matrix(values, 1, width), new RandomSource(seed), labels, new Matrix(read, 1, width), spread), Dot(gradient, direction));
        }

        double[] losses = new double[vocabulary];
        double expected = 0, probabilities = 0;
        for (int label = 0; label < vocabulary; label++)
        {
            (losses[label], double slope) = Run([label], 0);
            expected += Math.Exp(-losses[label]) * slope * slope;
            probabilities += Math.Exp(-losses[label]);
        }

        const int Runs = 4000;
        double found = 0, mean = 0;
        for (int run = 0; run < Runs; run++)
        {
            double slope = Run([], (ulong)run).Slope;
            found += slope * slope / Runs;
            mean += slope / Runs;
        }

        Assert.Equal(1, probabilities, 1e-5);
        // Squares of what is nearly normal vary by twice their mean's square.
        Assert.Equal(expected, found, 5 * expected * Math.Sqrt(2.0 / Runs));
        Assert.Equal(0, mean, 5 * Math.Sqrt(expected / Runs));
        // A capped logit's slope follows from the product, which the loss does not tell.
        float[] weights = chain.Head.Output.Values;
        for (int i = 0; i < vocabulary; i++)
        {
            double p = Math.Exp(-losses[i]), logit = chain.Decoder.LogitScale * Dot(weights.AsSpan(i * width, width), hidden);
            double tanh = chain.Decoder.LogitSoftCap == 0 ? 0 : Math.Tanh(logit / chain.Decoder.LogitSoftCap), factor = chain.Decoder.LogitScale * (1 - (tanh * tanh));
            Assert.Equal(factor * factor * p * (1 - p), spread[i], 1e-4 * p);
        }
    }

    [Fact]
    public void Threads_do_not_show_and_another_seed_does()
    {
        using GradientChain chain = new(Models["qwen2"]);
        List<int[]> chunks = [Specimen.Prompt, Specimen.Prompt[..31], Specimen.Prompt[7..66], Specimen.Prompt[3..40]];
        List<float> Values(int threads, ulong seed)
        {
            List<float> values = [];
            HeadStatistics head = GradientPass.Run(chain.Decoder, chain.Model.File, chunks, new GradientOptions { Threads = threads, Seed = seed }, (_, weights) =>
            {
                foreach (FisherStatistics weight in weights)
                {
                    for (int g = 0; g < weight.Groups; g++)
                        values.AddRange(weight.Hessian(g));
                    values.AddRange(weight.RowSquares);
                }
            }, null, TestContext.Current.CancellationToken);
            values.AddRange([.. head.Hidden, .. head.Input, .. head.Spread]);
            return values;
        }

        List<float> one = Values(1, 3);
        Assert.Equal(one, Values(3, 3));
        Assert.NotEqual(one, Values(1, 4));
    }

    [Theory]
    [InlineData("llama.moe", "layer 0: the network is ExpertFeedForward")]
    [InlineData("llama.scaled", "'token_embd.scale'", "attn_qkv")]
    [InlineData("mistral3", "queries are scaled by position")]
    [InlineData("qwen3.scaled", ".scale'")]
    [InlineData("gemma3.full", "'blk.0.attn_qkv.weight' is not queries, keys and values in a matrix each")]
    [InlineData("stablelm", "is Layer, not Rms")]
    [InlineData("mamba", "the mixer is MambaLayer")]
    public void A_model_of_other_parts_is_refused_by_the_part(string name, params string[] parts)
    {
        using TempFolder folder = new();
        SpecimenFile.Describe(Find(name)).Write(folder.File("other.gguf"), Specimen.Seed);
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(folder.File("other.gguf")), new ReferenceBackend());
        Assert.False(PlainDecoder.TryDescribe(model, Specimen.Context, out _, out string? refusal));
        Assert.Contains(parts, part => refusal.Contains(part, StringComparison.Ordinal));
    }

    [Fact]
    public void Chunks_that_cannot_be_run_are_refused()
    {
        using GradientChain chain = new(Models["llama"]);
        Assert.Contains("vocabulary", Assert.Throws<ArgumentException>(() => Run([[1, 2, 9999]])).Message, StringComparison.Ordinal);
        Assert.Contains("chunks", Assert.Throws<ArgumentException>(() => Run([])).Message, StringComparison.Ordinal);
        Assert.Contains("empty", Assert.Throws<ArgumentException>(() => Run([[1], []])).Message, StringComparison.Ordinal);
        void Run(List<int[]> chunks) => GradientPass.Run(chain.Decoder, chain.Model.File, chunks, new GradientOptions(), (_, _) => { }, null, TestContext.Current.CancellationToken);
    }

    private static void Check(string what, double slope, Func<int, double> loss)
    {
        double difference = (loss(1) - loss(-1)) / 2;
        Assert.True(Math.Abs(slope) > 2e-3, $"{what}: the slope {slope} tells nothing.");
        Assert.True(Math.Abs(difference - slope) < (0.01 * Math.Abs(slope)) + 2e-4, $"{what}: the gradient says {slope}, the loss changes by {difference}.");
    }

    private static double WithChange(LinearGradient linear, float[] change, int sign, Func<double> loss)
    {
        float[] before = linear.Values;
        linear.Values = [.. before.Zip(change, (weight, add) => weight + (sign * add))];
        double value = loss();
        linear.Values = before;
        return value;
    }

    // Half along the gradient, so that the loss changes by more than it is rounded by, half at random; so far that it changes by about 1, or by a thousandth of the values.
    private static (float[] Change, double Slope) Direction(double[] gradient, ReadOnlySpan<float> values, int seed)
    {
        Random random = new(seed);
        double size = Math.Sqrt(gradient.Average(value => value * value)), step = Math.Min(1e-3 * Math.Sqrt(Dot(values, values) / values.Length), 1 / (size * gradient.Length));
        float[] change = [.. gradient.Select(value => (float)(step * ((value / size) + (random.NextDouble() * 2) - 1)))];
        return (change, change.Zip(gradient, (a, b) => a * b).Sum());
    }

    private static int[] Labels() => [.. Specimen.Prompt.Skip(1), 5];

    private static double Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += (double)a[i] * b[i];
        return sum;
    }

    private static void AddOuter(ReadOnlySpan<float> x, double weight, Span<double> sums)
    {
        for (int i = 0; i < x.Length; i++)
            for (int j = 0; j < x.Length; j++)
                sums[(i * x.Length) + j] += weight * x[i] * x[j];
    }

    private static void AssertNear(ReadOnlySpan<double> sums, int tokens, ReadOnlySpan<float> means, int columns)
    {
        for (int i = 0; i < columns; i++)
            for (int j = 0; j < columns; j++)
                Assert.Equal(sums[(i * columns) + j] / tokens, means[(i * columns) + j], 1e-5 * Math.Sqrt(sums[i * (columns + 1)] * sums[j * (columns + 1)]) / tokens);
    }

    private static Specimen Find(string name) => Specimens.All.Single(specimen => specimen.Name == name);
}
