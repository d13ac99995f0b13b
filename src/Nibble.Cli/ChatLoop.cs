using System.Globalization;
using Nibble.Llm.Generation;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Templates;

namespace Nibble.Cli;

/// <summary>Reads lines, answers messages, obeys commands that start with a slash.</summary>
/// <remarks>Answers go to standard output, all else to standard error, so that a pipe gets answers only.</remarks>
internal sealed class ChatLoop
{
    private readonly Model _model;
    private readonly Chat _chat;
    private readonly Interruption _interruption;
    private readonly bool _isInteractive = !Console.IsInputRedirected;
    private readonly List<(string Name, string Argument, string Help, Func<string, bool> Do)> _commands;
    private bool _failed;
    private volatile bool _isAnswering;

    /// <summary>A loop over a conversation.</summary>
    public ChatLoop(Model model, Chat chat, Interruption interruption)
    {
        _model = model;
        _chat = chat;
        _interruption = interruption;
        _commands =
        [
            ("/help", "", "list these commands", _ => Help()),
            ("/reset", "", "forget the conversation; the system message stays", _ => Reset()),
            ("/system", "[TEXT]", "set the system message and forget the conversation; without a text show it", SetSystem),
            ("/save", "FILE", "save the conversation with its keys and values", Save),
            ("/load", "FILE", "go on with a saved conversation", Load),
            ("/quit", "", "leave (or Ctrl-D)", _ => false),
        ];
    }

    /// <summary>Runs until the input ends or the user leaves.</summary>
    /// <param name="first">A first message, or null.</param>
    /// <returns>The exit code: 1 when input was no terminal and a turn failed.</returns>
    public int Run(string? first)
    {
        if (_isInteractive)
        {
            Terminal.Note($"{Path.GetFileName(_model.Language.File.Path)} on {_model.Language.Backend.Name}: {_model.Language.Backend.Description}");
            LanguageModel language = _model.Language;
            Terminal.Note(string.Create(
                CultureInfo.InvariantCulture,
                $"memory: weights {language.TensorBytes / 1e6:F0} MB in the file and {(language.UploadBytes + (language.WeightCache?.MappedBytes ?? 0)) / 1e6:F0} MB as the device reads them{(language.WeightCache is { MappedBytes: > 0 } cache ? $" ({cache.MappedBytes / 1e6:F0} MB of these mapped)" : "")}, context of {_chat.Session.Capacity:N0} positions {language.KvBytes(_chat.Session.Capacity, _chat.Session.Options.KvFormat) / 1e6:F0} MB, activations {language.ScratchBytes / 1e6:F0} MB"));
            Terminal.Note("/help lists commands, Ctrl-C stops an answer, Ctrl-D leaves.");
            _interruption.Pressed = () =>
            {
                if (!_isAnswering) Console.Error.WriteLine("\nCtrl-C again leaves.");
            };
        }

        if (first is not null) Answer(first);
        while (true)
        {
            _interruption.Reset();
            if (_isInteractive) Console.Error.Write("> ");
            if (Console.In.ReadLine() is not { } line) break;
            if (string.IsNullOrWhiteSpace(line)) continue;
            if (line.StartsWith('/'))
            {
                if (!Obey(line)) break;
            }
            else
            {
                Answer(line);
            }
        }

        if (_isInteractive) Console.Error.WriteLine();
        return _failed && !_isInteractive ? Program.Failed : 0;
    }

    private void Answer(string message)
    {
        try
        {
            _interruption.Reset();
            _isAnswering = true;
            int dropped = _chat.DroppedTurns;
            ChatAnswer answer = _chat.Send(
                message,
                text =>
                {
                    Console.Out.Write(text);
                    Console.Out.Flush();
                },
                _interruption.Token);
            Console.Out.WriteLine();
            Console.Out.Flush();
            if (_isInteractive) ShowSpeed(answer);
            if (answer.Finish == FinishReason.None)
            {
                Terminal.Note("[stopped]");
                if (!_isInteractive) throw new OperationCanceledException();
            }

            if (answer.Finish == FinishReason.ContextFull)
                Terminal.Warning($"the answer was cut: the context of {_chat.Session.Capacity} positions is full. Type /reset, or start with a larger --context or with --context-shift.");
            if (_chat.DroppedTurns > dropped) Terminal.Note($"[context full: the oldest {_chat.DroppedTurns - dropped} turns were dropped]");
        }
        catch (OperationCanceledException) when (_isInteractive)
        {
            Console.Out.WriteLine();
            Terminal.Note("[stopped before the answer began]");
        }
        catch (ContextOverflowException)
        {
            _failed = true;
            Terminal.Error($"the conversation does not fit into the context of {_chat.Session.Capacity} positions. Type /reset, or start with a larger --context or with --context-shift.");
        }
        catch (Exception error) when (error is TemplateException or ArgumentException or InvalidOperationException or InsufficientMemoryException)
        {
            _failed = true;
            Terminal.Error(Terminal.Message(error));
        }
        finally
        {
            _isAnswering = false;
        }
    }

    private static void ShowSpeed(ChatAnswer answer)
    {
        int evaluated = answer.PromptTokens - answer.ReusedTokens;
        double prompt = evaluated / Math.Max(1e-9, answer.PromptTime.TotalSeconds);
        double generated = answer.GeneratedTokens / Math.Max(1e-9, answer.GenerationTime.TotalSeconds);
        Terminal.Note(string.Create(
            CultureInfo.InvariantCulture,
            $"[prompt {evaluated} tokens (+{answer.ReusedTokens} reused) at {prompt:F1} tokens/s, answer {answer.GeneratedTokens} tokens at {generated:F1} tokens/s]"));
    }

    private bool Obey(string line)
    {
        string[] parts = line.Split(' ', 2, StringSplitOptions.TrimEntries);
        foreach ((string name, _, _, Func<string, bool> command) in _commands)
        {
            if (name != parts[0]) continue;
            try
            {
                return command(parts.Length > 1 ? parts[1] : string.Empty);
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException or UsageException)
            {
                _failed = true;
                Terminal.Error(error.Message);
                return true;
            }
        }

        _failed = true;
        Terminal.Error($"there is no command '{parts[0]}'; /help lists them. To send a message that starts with a slash, put a space before it.");
        return true;
    }

    private bool Help()
    {
        foreach ((string name, string argument, string help, _) in _commands)
            Terminal.Note($"{name + " " + argument,-16} {help}");
        return true;
    }

    private bool Reset()
    {
        _chat.Reset();
        Terminal.Note("[conversation forgotten]");
        return true;
    }

    private bool SetSystem(string text)
    {
        if (text.Length == 0)
        {
            Terminal.Note(_chat.System ?? "[no system message; the template may bring its own]");
            return true;
        }

        _chat.System = text;
        _chat.Reset();
        Terminal.Note("[system message set, conversation forgotten]");
        return true;
    }

    private bool Save(string path)
    {
        _chat.Save(FilePath(path, "/save"));
        Terminal.Note($"[{_chat.Messages.Count} messages saved to {path}]");
        return true;
    }

    private bool Load(string path)
    {
        _chat.Load(FilePath(path, "/load"));
        Terminal.Note($"[{_chat.Messages.Count} messages loaded from {path}]");
        return true;
    }

    private static string FilePath(string path, string command) => path.Length > 0 ? path : throw new UsageException($"{command} needs a file name.");
}
