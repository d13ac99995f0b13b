using Nibble.Llm.Generation;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;

namespace Nibble.Tests;

public sealed class ChatTests : IDisposable
{
    private readonly Model _model = Model.Load(null, new LoadOptions { DeviceOptions = new DeviceOptions { IsExact = true } });

    private static SamplingOptions Greedy => new() { Temperature = 0 };

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public void Dispose() => _model.Dispose();

    [Fact]
    public void The_stream_is_the_answer_and_the_next_turn_reuses_the_session()
    {
        using Chat chat = new(_model, new ChatOptions { Sampling = Greedy, Context = 512 });
        string streamed = string.Empty;
        ChatAnswer first = chat.Send("What is the capital of France?", text => streamed += text.ToString(), Cancellation);
        Assert.Equal("The capital of France is Paris.", first.Text);
        Assert.Equal(first.Text, streamed);
        Assert.Equal(FinishReason.EndOfGeneration, first.Finish);
        Assert.Equal(8, first.GeneratedTokens);
        ChatAnswer second = chat.Send("And of Italy?", null, Cancellation);
        // Prompt, answer and its end of turn but for the last id, which was sampled and not evaluated.
        Assert.Equal(first.PromptTokens + first.GeneratedTokens - 1, second.ReusedTokens);
        Assert.Equal(["user", "assistant", "user", "assistant"], chat.Messages.Select(message => message.Role));
    }

    [Fact]
    public void A_cancelled_answer_keeps_its_beginning_and_the_chat_goes_on()
    {
        using Chat chat = new(_model, new ChatOptions { Sampling = Greedy, Context = 512 });
        using CancellationTokenSource source = new();
        int pieces = 0;
        ChatAnswer answer = chat.Send(
            "Count from one to fifty.",
            _ =>
            {
                if (++pieces == 3) source.Cancel();
            },
            source.Token);
        Assert.Equal(FinishReason.None, answer.Finish);
        Assert.NotEmpty(answer.Text);
        Assert.Equal(answer.Text, chat.Messages[1].Content);
        chat.Reset();
        Assert.Equal("The capital of France is Paris.", chat.Send("What is the capital of France?", null, Cancellation).Text);
    }

    [Fact]
    public void A_message_that_does_not_fit_leaves_the_chat_as_it_was()
    {
        using Chat chat = new(_model, new ChatOptions { Sampling = Greedy, Context = 64 });
        string text = chat.Send("What is the capital of France?", null, Cancellation).Text;
        Assert.Throws<ContextOverflowException>(() => chat.Send(new string('x', 400), null, Cancellation));
        Assert.Equal(2, chat.Messages.Count);
        Assert.Equal(text, chat.Messages[1].Content);
        using CancellationTokenSource cancelled = new();
        cancelled.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => chat.Send("Hi", null, cancelled.Token));
        Assert.Equal(2, chat.Messages.Count);
    }

    [Fact]
    public void A_full_context_ends_the_answer_or_drops_the_oldest_turns()
    {
        using Chat full = new(_model, new ChatOptions { Sampling = Greedy, Context = 80 });
        ChatAnswer cut = full.Send("Write a very long story about a dog.", null, Cancellation);
        Assert.Equal(FinishReason.ContextFull, cut.Finish);
        Assert.Equal(80, full.Session.Length);

        using Chat shifting = new(_model, new ChatOptions { Sampling = Greedy, Context = 128, ContextShift = true, Generation = new GenerationOptions { MaxTokens = 48 } });
        shifting.Send("Tell me about dogs.", null, Cancellation);
        ChatAnswer second = shifting.Send("Tell me about cats.", null, Cancellation);
        Assert.Equal(FinishReason.Length, second.Finish);
        Assert.Equal(48, second.GeneratedTokens);
        Assert.Equal(1, shifting.DroppedTurns);
        Assert.Equal(["user", "assistant"], shifting.Messages.Select(message => message.Role));

        // The answer after the drop is the one of a chat that never had the first turn, from where the context was full on.
        Assert.Equal("Tell me about cats.", shifting.Messages[0].Content);
    }

    [Fact]
    public void A_saved_chat_is_loaded_with_its_messages_and_a_damaged_one_is_refused()
    {
        string path = Path.Combine(Path.GetTempPath(), $"nibble-chat-{Guid.NewGuid():N}");
        try
        {
            using Chat chat = new(_model, new ChatOptions { Sampling = Greedy, Context = 256, System = "S" });
            chat.Send("What is the capital of France?", null, Cancellation);
            chat.Save(path);
            using Chat other = new(_model, new ChatOptions { Sampling = Greedy, Context = 256 });
            other.Load(path);
            Assert.Equal("S", other.System);
            Assert.Equal(chat.Messages.Select(message => message.Content), other.Messages.Select(message => message.Content));
            Assert.Equal(chat.Session.Tokens.ToArray(), other.Session.Tokens.ToArray());
            Assert.Equal(chat.Send("And of Italy?", null, Cancellation).Text, other.Send("And of Italy?", null, Cancellation).Text);
            using Session session = _model.Language.NewSession(new SessionOptions { Context = 256 });
            session.Evaluate([1, 2, 3], Cancellation);
            session.Save(path);
            Assert.Contains("no saved chat", Assert.Throws<SessionStateException>(() => other.Load(path)).Message, StringComparison.Ordinal);
            Assert.Equal(4, other.Messages.Count);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
