using System.Text;
using Nibble.Llm.Generation;

namespace Nibble.Llm.Tests.Generation;

public class StopMatcherTests
{
    [Theory]
    [InlineData("hello world", "hello world", false)]
    [InlineData("hello STOP world", "hello ", true)]
    [InlineData("hello STO", "hello STO", false)]
    [InlineData("STSTOP", "ST", true)]
    [InlineData("aaab", "a", true)]
    [InlineData("", "", false)]
    public void Text_is_released_up_to_the_first_stop_string_however_it_is_cut(string text, string expected, bool isHit)
    {
        for (int size = 1; size <= Math.Max(1, text.Length); size++)
        {
            StopMatcher matcher = new(["STOP", "aab"]);
            StringBuilder released = new();
            for (int start = 0; start < text.Length; start += size)
            {
                matcher.Append(text.AsSpan(start, Math.Min(size, text.Length - start)));
                released.Append(matcher.Released);
            }

            matcher.Finish(default);
            released.Append(matcher.Released);
            Assert.Equal(expected, released.ToString());
            Assert.Equal(isHit, matcher.IsHit);
        }
    }

    [Fact]
    public void Only_what_may_become_a_stop_string_is_held_back()
    {
        StopMatcher matcher = new(["</s>"]);
        matcher.Append("a<");
        Assert.Equal("a", matcher.Released.ToString());
        matcher.Append("b");
        Assert.Equal("<b", matcher.Released.ToString());
        matcher.Append("</s");
        Assert.Equal("", matcher.Released.ToString());
        matcher.Finish("");
        Assert.Equal("</s", matcher.Released.ToString());
    }

    [Fact]
    public void Nothing_is_released_after_a_stop_string()
    {
        StopMatcher matcher = new(["x"]);
        matcher.Append("axb");
        Assert.Equal("a", matcher.Released.ToString());
        matcher.Append("c");
        Assert.Equal("", matcher.Released.ToString());
        matcher.Finish("d");
        Assert.Equal("", matcher.Released.ToString());
    }

    [Fact]
    public void An_empty_stop_string_is_refused() => Assert.Throws<ArgumentException>(() => new StopMatcher([""]));
}
