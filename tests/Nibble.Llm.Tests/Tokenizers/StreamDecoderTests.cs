using Nibble.Llm.Tokenizers;

namespace Nibble.Llm.Tests.Tokenizers;

public class StreamDecoderTests
{
    private static readonly Tokenizer Gpt2 = TokenizerCases.Tokenizer("gpt-2");

    [Fact]
    public void Bytes_of_an_unfinished_character_wait_for_the_rest()
    {
        int[] ids = Gpt2.Encode("\U0001F995", parseSpecial: false, addBosEos: false);
        Assert.True(ids.Length > 1);
        StreamDecoder decoder = new(Gpt2);
        foreach (int id in ids[..^1]) Assert.Equal("", decoder.Append(id).ToString());
        Assert.Equal("\U0001F995", decoder.Append(ids[^1]).ToString());
        Assert.Equal("", decoder.Flush().ToString());
    }

    [Fact]
    public void An_unfinished_character_becomes_U_FFFD_at_the_end()
    {
        int[] ids = Gpt2.Encode("\U0001F995", parseSpecial: false, addBosEos: false);
        StreamDecoder decoder = new(Gpt2);
        foreach (int id in ids[..^1]) decoder.Append(id);
        Assert.Equal("\uFFFD", decoder.Flush().ToString());
        Assert.Equal("", decoder.Flush().ToString());
    }

    [Fact]
    public void Reset_forgets_an_unfinished_character()
    {
        StreamDecoder decoder = new(Gpt2);
        decoder.Append(Gpt2.Encode("\U0001F995", false, false)[0]);
        decoder.Reset();
        Assert.Equal("a", decoder.Append(Gpt2.Find("a")!.Value).ToString());
    }

    [Fact]
    public void Control_tokens_are_left_out_or_spelled_out()
    {
        int end = Gpt2.Find("<|endoftext|>")!.Value;
        Assert.Equal("", new StreamDecoder(Gpt2).Append(end).ToString());
        Assert.Equal("<|endoftext|>", new StreamDecoder(Gpt2, renderSpecial: true).Append(end).ToString());
    }

    [Fact]
    public void A_short_destination_is_refused_and_the_token_can_come_again()
    {
        StreamDecoder decoder = new(Gpt2);
        int id = Gpt2.Find("hello")!.Value;
        Assert.Throws<ArgumentException>(() => decoder.Append(id, new char[2]));
        Assert.Equal("hello", decoder.Append(id).ToString());
    }

    [Fact]
    public void An_id_outside_of_the_vocabulary_is_refused_with_the_bound()
    {
        ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(() => new StreamDecoder(Gpt2).Append(50257).ToString());
        Assert.Contains("50257", error.Message);
        Assert.Contains("50256", error.Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => Gpt2.Decode([-1], false));
    }

    [Theory]
    [InlineData("gpt-2")]
    [InlineData("llama-spm")]
    public void Steady_decoding_allocates_nothing(string name)
    {
        Tokenizer tokenizer = TokenizerCases.Tokenizer(name);
        int[] ids = tokenizer.Encode(string.Concat(Enumerable.Repeat("Hello w\u00F6rld \U0001F995 \u4F60\u597D. ", 200)), false, false);
        StreamDecoder decoder = new(tokenizer);
        int chars = 0;
        Decode();
        Assert.Equal(0, Allocations.Least(Decode));
        Assert.True(chars > ids.Length);

        void Decode()
        {
            foreach (int id in ids) chars += decoder.Append(id).Length + (tokenizer.IsEndOfGeneration(id) ? 1 : 0);
        }
    }
}
