using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Nibble.Core.Formats;
using Nibble.Llm.Generation;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Llm.Templates;

namespace Nibble;

/// <summary>A conversation with a model: keeps the messages, and a session whose keys and values are reused from turn to turn.</summary>
public sealed class Chat : IDisposable
{
    private readonly Model _model;
    private readonly ChatOptions _options;
    private readonly SamplerChain _sampler;
    private readonly List<ChatMessage> _messages = [];
    /// <summary>A conversation without messages yet.</summary>
    /// <param name="model">The model; it outlives the chat.</param>
    /// <param name="options">How.</param>
    public Chat(Model model, ChatOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _options = options ?? new ChatOptions();
        System = _options.System;
        _ = model.Tokenizer;
        _sampler = model.NewSampler(_options.Sampling);
        Session = model.Language.NewSession(new SessionOptions { Context = _options.Context, KvFormat = _options.KvFormat });
    }

    /// <summary>The session.</summary>
    public Session Session { get; }

    /// <summary>The system message, or null. Changing it changes what the next answer is given.</summary>
    public string? System { get; set; }

    /// <summary>The messages of user and assistant so far.</summary>
    public IReadOnlyList<ChatMessage> Messages => _messages;

    /// <summary>Turns that were dropped because the context was full.</summary>
    public int DroppedTurns { get; private set; }

    /// <summary>Sends a message and streams the answer.</summary>
    /// <param name="message">What the user says. It never becomes a special token.</param>
    /// <param name="onText">Told of each piece, or null.</param>
    /// <param name="cancellation">Ends the answer within a layer; what came so far stays in the conversation.</param>
    /// <exception cref="ContextOverflowException">The conversation does not fit. It is as it was before the call.</exception>
    /// <exception cref="TemplateException">The template refuses the conversation. It is as it was before the call.</exception>
    /// <exception cref="OperationCanceledException">Cancelled before the answer began. The conversation is as it was before the call.</exception>
    public ChatAnswer Send(string message, TextHandler? onText = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(message);
        long start = TimeProvider.System.GetTimestamp();
        List<ChatMessage> before = [.. _messages];
        int droppedBefore = DroppedTurns;
        _messages.Add(new ChatMessage("user", message));
        try
        {
            List<int> prompt = FitPrompt([]);
            int reused = Session.Prefill(CollectionsMarshal.AsSpan(prompt), cancellation);
            TimeSpan promptTime = TimeProvider.System.GetElapsedTime(start);
            _sampler.Reset();
            foreach (int id in prompt)
                _sampler.Accept(id);
            start = TimeProvider.System.GetTimestamp();
            (string answer, FinishReason finish, int count) = Answer(onText, cancellation);
            _messages.Add(new ChatMessage("assistant", answer));
            return new ChatAnswer(answer, finish, prompt.Count, reused, count, promptTime, TimeProvider.System.GetElapsedTime(start));
        }
        catch
        {
            _messages.Clear();
            _messages.AddRange(before);
            DroppedTurns = droppedBefore;
            throw;
        }
    }

    /// <summary>Forgets the messages; the system message stays.</summary>
    public void Reset()
    {
        _messages.Clear();
        Session.Rewind(0);
        _sampler.Reset();
        DroppedTurns = 0;
    }

    /// <summary>Writes messages, keys and values to a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path)
    {
        SavedChat saved = new() { System = System, Messages = [.. _messages.Select(message => new SavedMessage { Role = message.Role, Content = message.Content })] };
        Session.Save(path, JsonSerializer.SerializeToUtf8Bytes(saved, SavedChatJson.Default.SavedChat));
    }

    /// <summary>Goes on with a conversation that <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="SessionStateException">The file is damaged, of another model, or no saved chat. The conversation is as it was.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public void Load(string path)
    {
        SavedChat? saved = null;
        Session.Restore(path, attachment => saved = ReadSaved(attachment, path));
        _messages.Clear();
        _messages.AddRange(saved!.Messages.Select(message => new ChatMessage(message.Role, message.Content)));
        System = saved.System;
        _sampler.Reset();
        DroppedTurns = 0;
    }

    /// <summary>Frees keys and values.</summary>
    public void Dispose() => Session.Dispose();

    private static SavedChat ReadSaved(byte[] attachment, string path)
    {
        try
        {
            SavedChat? saved = JsonSerializer.Deserialize(attachment, SavedChatJson.Default.SavedChat);
            // A required member may still be null in JSON.
            return saved?.Messages is { } messages && messages.All(message => message is { Role: not null, Content: not null })
                ? saved
                : throw new JsonException("it has no messages.");
        }
        catch (JsonException error)
        {
            throw new SessionStateException($"'{Path.GetFileName(path)}' is a saved session, but no saved chat: {error.Message}");
        }
    }

    private (string Text, FinishReason Finish, int Count) Answer(TextHandler? onText, CancellationToken cancellation)
    {
        StringBuilder answer = new();
        List<int> ids = [];
        Generator generator = new(Session, _model.Tokenizer, _sampler, _options.Generation);
        FinishReason finish = FinishReason.None;
        bool isShifting = false;
        while (finish == FinishReason.None)
        {
            try
            {
                if (isShifting)
                {
                    // The last id is still to be evaluated; the generator does that once there is room.
                    Session.Prefill(CollectionsMarshal.AsSpan(FitPrompt(ids[..^1])), cancellation);
                    isShifting = false;
                }

                generator.Next(cancellation);
                finish = generator.Finish;
                ids.Add(generator.Id);
                Take(generator.Text);
            }
            catch (ContextOverflowException)
            {
                isShifting = !isShifting && _options.ContextShift && DropOldestTurn();
                if (!isShifting) finish = FinishReason.ContextFull;
            }
            catch (OperationCanceledException) when (generator.Count > 0)
            {
                // The user stopped the answer: its beginning is part of the conversation.
                break;
            }
        }

        generator.Flush();
        Take(generator.Text);
        return (answer.ToString(), finish, generator.Count);

        void Take(ReadOnlySpan<char> text)
        {
            if (text.IsEmpty) return;
            answer.Append(text);
            onText?.Invoke(text);
        }
    }

    /// <summary>The ids of the conversation, the opening of the answer and what was answered so far. With a context shift, oldest turns go until it all fits.</summary>
    private List<int> FitPrompt(List<int> answered)
    {
        while (true)
        {
            List<ChatMessage> messages = [.. System is null ? [] : new[] { new ChatMessage("system", System) }, .. _messages];
            List<int> ids = [.. _model.Encode(_model.ChatTemplate.Render(messages, addGenerationPrompt: true, TimeProvider.System.GetLocalNow())), .. answered];
            if (ids.Count < Session.Capacity || !_options.ContextShift || !DropOldestTurn()) return ids;
        }
    }

    /// <summary>Drops the oldest message of the user and the answer to it; the last message of the user stays.</summary>
    private bool DropOldestTurn()
    {
        int next = _messages.FindIndex(1, message => message.Role == "user");
        if (next < 0) return false;
        _messages.RemoveRange(0, next);
        DroppedTurns++;
        return true;
    }
}

/// <summary>The messages of a saved chat.</summary>
internal sealed record SavedChat
{
    public string? System { get; init; }

    public required IReadOnlyList<SavedMessage> Messages { get; init; }
}

/// <summary>One message of a saved chat.</summary>
internal sealed record SavedMessage
{
    public required string Role { get; init; }

    public required string Content { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(SavedChat))]
internal sealed partial class SavedChatJson : JsonSerializerContext;
