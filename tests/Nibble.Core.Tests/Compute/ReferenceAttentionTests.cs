using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Core.Tests.Compute;

/// <summary>Windows, sinks, caps, slopes and temperatures of attention, with heads of one value.</summary>
public sealed class ReferenceAttentionTests : ReferenceTestBase
{
    private static readonly float[] s_zeros = new float[16];

    [Fact]
    public void A_window_moves_with_the_token()
    {
        // Keys 0: the mean of the values that are seen. Window 2: each token sees the one before it and itself.
        Assert.Equal([1, 1.5f, 3, 6, 12], Attend(new KvLayer(1, 1, 1, Window: 2), s_zeros[..5], [1, 2, 4, 8, 16], batch: 5));
    }

    [Fact]
    public void A_chunked_window_begins_at_multiples_of_its_length()
    {
        Assert.Equal([1, 1.5f, 4, 6, 16, 24], Attend(new KvLayer(1, 1, 1, Window: 2, IsChunked: true), s_zeros[..6], [1, 2, 4, 8, 16, 32], batch: 6));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(9)]
    public void A_layer_with_a_window_keeps_no_more_than_it_and_a_batch(int batch)
    {
        // Window 3, nine tokens: from the third on the mean of three, whatever rows they lie in.
        KvLayer layer = new(1, 1, 1, Window: 3);
        using KvCache cache = Backend.AllocateKv([layer], 9, BlockFormats.F32, batch);
        Assert.Equal(Math.Min(9, 2 + batch), cache.Rows(0));
        Assert.Equal(cache.Rows(0) * 8, KvCache.Bytes([layer], 9, BlockFormats.F32, batch));
        Assert.Equal([3, 4.5f, 6, 9, 12, 15, 18, 21, 24], Attend(layer, s_zeros[..9], [3, 6, 9, 12, 15, 18, 21, 24, 27], batch).Select(Round));
    }

    [Fact]
    public void The_rows_of_a_window_are_copied_read_and_written_where_they_lie()
    {
        KvLayer layer = new(1, 1, 1, Window: 2);
        using KvCache cache = Backend.AllocateKv([layer], 9, BlockFormats.F32, 1), copy = Backend.AllocateKv([layer], 9, BlockFormats.F32, 1);
        for (int p = 0; p < 5; p++)
            Backend.StoreKv(Tensor([p], 1, 1), Tensor([10 * p], 1, 1), cache, 0, p);
        copy.CopyFrom(cache, 5);
        byte[] row = new byte[4];
        copy.ReadRow(0, true, 4, row);
        Assert.Equal(40f, BitConverter.ToSingle(row));
        copy.ReadRow(0, false, 3, row);
        Assert.Equal(3f, BitConverter.ToSingle(row));
        copy.WriteRow(0, true, 5, BitConverter.GetBytes(50f));
        copy.ReadRow(0, true, 3, row);
        Assert.Equal(50f, BitConverter.ToSingle(row)); // Two rows: 5 took the place of 3.
        using KvCache other = Backend.AllocateKv([layer], 9, BlockFormats.F32, 2);
        Assert.Throws<ArgumentException>(() => other.CopyFrom(cache, 5));
    }

    [Fact]
    public void More_tokens_than_the_cache_was_made_for_are_refused()
    {
        using KvCache cache = Backend.AllocateKv([new KvLayer(1, 1, 1, Window: 2)], 9, BlockFormats.F32, 2);
        Tensor three = Tensor([1, 2, 3], 3, 1), y = Tensor([1, 2, 3], 3, 1);
        Assert.Throws<ArgumentException>(() => Backend.StoreKv(three, three, cache, 0, 0));
        Assert.Throws<ArgumentException>(() => Backend.Attention(three, cache, 0, 0, new AttentionOptions(1, 1), y));
    }

    [Fact]
    public void A_sink_takes_its_share_and_adds_nothing()
    {
        // One position of score 0 and value 8. Sinks of ln 3 and ln 7 leave it 1/4 and 1/8; with two positions 2/5 and 2/9 for their mean of 12.
        AttentionOptions options = new(2, 1) { Sinks = Vector(MathF.Log(3), MathF.Log(7)) };
        Assert.Equal([2, 1, 4.8f, Round(24 / 9f)], Attend(new KvLayer(1, 1, 1), [0, 0], [8, 16], 2, options).Select(Round));
        Assert.Throws<ArgumentException>(() => Attend(new KvLayer(1, 1, 1), [0, 0], [8, 16], 2, options with { Sinks = Vector(1) }));
    }

    [Fact]
    public void A_soft_cap_bends_scores_but_not_sinks()
    {
        // Scores 0 and 2 x 3 (scale) capped at 2: 2 tanh 3 = 1.9901095. Values 0 and 1.
        double weight = Math.Exp(1.9901095);
        AttentionOptions options = new(1, 3) { SoftCap = 2 };
        Assert.Equal(weight / (1 + weight), Attend(new KvLayer(1, 1, 1), [0, 2], [0, 1], 2, options)[1], 1e-6);
        double sink = Math.Exp(5);
        Assert.Equal(weight / (1 + weight + sink), Attend(new KvLayer(1, 1, 1), [0, 2], [0, 1], 2, options with { Sinks = Vector(5) })[1], 1e-6);
        Assert.Throws<ArgumentException>(() => Attend(new KvLayer(1, 1, 1), [0, 2], [0, 1], 2, options with { SoftCap = -1 }));
    }

    // Slopes of the paper: 2^(-8 i / n) for n = 2 and 8; the heads past them take every other slope of twice as many heads.
    [Theory]
    [InlineData(3, new[] { -4, -8, -2.0 })]
    [InlineData(12, new[] { -1, -2, -3, -4, -5, -6, -7, -8, -0.5, -1.5, -2.5, -3.5 })]
    public void ALiBi_lowers_scores_by_the_distance_times_the_head_s_slope(int heads, double[] exponents)
    {
        // Keys 0, values 1, 0 and 0: the weight of position 0 seen from 2 steps away.
        AttentionOptions options = new(heads, 1) { AlibiBias = 8 };
        float[] y = Attend(new KvLayer(1, 1, 1), [0, 0, 0], [1, 0, 0], 3, options);
        for (int h = 0; h < heads; h++)
        {
            double slope = Math.Pow(2, exponents[h]), far = Math.Exp(-2 * slope);
            Assert.Equal(far / (far + Math.Exp(-slope) + 1), y[(2 * heads) + h], 1e-6);
        }
    }

    [Fact]
    public void A_temperature_grows_in_steps_of_the_position()
    {
        // Offset 1, interval 2: position 0 has the factor 1 + 2 ln 1, positions 1 and 2 have 1 + 2 ln 2. Keys 0 and 1: the token's own key has the score factor.
        AttentionOptions options = new(1, 1) { Temperature = new QueryTemperature(2, 2, 1) };
        float[] y = Attend(new KvLayer(1, 1, 1), [0, 1, 0], [0, 1, 0], 3, options);
        double weight = Math.Exp(1 + (2 * Math.Log(2)));
        Assert.Equal(0, y[0]);
        Assert.Equal(weight / (weight + 1), y[1], 1e-6);
        Assert.Equal(weight / (weight + 2), y[2], 1e-6);
        Assert.Equal(1, new QueryTemperature(0, 0, 0).At(1000));
    }

    // All queries are 1; tokens are stored and asked for a batch at a time.
    private float[] Attend(KvLayer layer, float[] keys, float[] values, int batch, AttentionOptions? options = null)
    {
        AttentionOptions how = options ?? new AttentionOptions(1, 1);
        using KvCache cache = Backend.AllocateKv([layer], 9, BlockFormats.F32, batch);
        List<float> results = [];
        for (int first = 0; first < keys.Length; first += batch)
        {
            int tokens = Math.Min(batch, keys.Length - first);
            Backend.StoreKv(Tensor(keys[first..(first + tokens)], tokens, 1), Tensor(values[first..(first + tokens)], tokens, 1), cache, 0, first);
            Tensor y = Backend.Allocate(ElementType.Float32, tokens, how.Heads);
            Backend.Attention(Tensor([.. Enumerable.Repeat(1f, tokens * how.Heads)], tokens, how.Heads), cache, 0, first, how, y);
            results.AddRange(Read(y));
        }

        return [.. results];
    }

    private static float Round(float value) => MathF.Round(value, 4);
}
