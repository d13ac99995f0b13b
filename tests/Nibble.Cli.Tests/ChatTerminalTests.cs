using System.Runtime.Versioning;

namespace Nibble.Cli.Tests;

/// <summary><c>nibble chat</c> on a terminal.</summary>
[SupportedOSPlatform("linux")]
public sealed class ChatTerminalTests : IDisposable
{
    private const string Speed = "tokens/s]";

    private readonly string _folder = Directory.CreateTempSubdirectory("nibble-chat-").FullName;

    public ChatTerminalTests() => Assert.SkipUnless(OperatingSystem.IsLinux(), "pseudo-terminals are driven on Linux only");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Two_turns_depend_on_each_other_and_reset_forgets()
    {
        using PseudoTerminal terminal = Start("--temp", "0", "-n", "48");
        terminal.TypeLine("My name is Zebulon. Remember my name.");
        terminal.WaitFor(Speed);
        terminal.TypeLine("What is my name?");
        Assert.Contains("Zebulon", terminal.WaitFor(Speed).Split("name?")[^1], StringComparison.Ordinal);
        terminal.TypeLine("/reset");
        terminal.WaitFor("[conversation forgotten]");
        terminal.TypeLine("What is my name?");
        Assert.DoesNotContain("Zebulon", terminal.WaitFor(Speed), StringComparison.Ordinal);
        terminal.TypeLine("/quit");
        Assert.Equal(0, terminal.WaitForExit());
    }

    [Fact]
    public void The_system_message_can_be_set_and_shown()
    {
        using PseudoTerminal terminal = Start("--temp", "0", "-n", "24");
        terminal.TypeLine("/system You are a pirate captain called Barnacle.");
        terminal.WaitFor("[system message set");
        terminal.TypeLine("/system");
        terminal.WaitFor("You are a pirate captain called Barnacle.");
        terminal.TypeLine("What is your name?");
        Assert.Contains("Barnacle", terminal.WaitFor(Speed), StringComparison.Ordinal);
        terminal.TypeLine("/help");
        string help = terminal.WaitFor("/quit");
        foreach (string command in (string[])["/reset", "/system", "/save", "/load"])
            Assert.Contains(command, help, StringComparison.Ordinal);
        terminal.TypeLine("/unknown");
        terminal.WaitFor("there is no command '/unknown'");
        terminal.WaitFor("> ");
        terminal.Type(PseudoTerminal.CtrlD);
        Assert.Equal(0, terminal.WaitForExit());
    }

    [Fact]
    public void A_saved_conversation_goes_on_in_another_process()
    {
        string file = Path.Combine(_folder, "chat.state");
        using (PseudoTerminal first = Start("--temp", "0", "-n", "48"))
        {
            first.TypeLine("My name is Zebulon. Remember my name.");
            first.WaitFor(Speed);
            first.TypeLine("/save " + file);
            first.WaitFor("[2 messages saved");
            first.TypeLine("/quit");
            Assert.Equal(0, first.WaitForExit());
        }

        using PseudoTerminal second = Start("--temp", "0", "-n", "48");
        second.TypeLine("/load " + Path.Combine(_folder, "missing"));
        second.WaitFor("nibble: error:");
        second.TypeLine("/load " + file);
        second.WaitFor("[2 messages loaded");
        second.TypeLine("What is my name?");
        string answer = second.WaitFor(Speed);
        Assert.Contains("Zebulon", answer.Split("name?")[^1], StringComparison.Ordinal);
        // The saved keys and values are reused: only the new turn is evaluated.
        Assert.DoesNotContain("(+0 reused)", answer, StringComparison.Ordinal);
        second.TypeLine("/quit");
        Assert.Equal(0, second.WaitForExit());
    }

    [Fact]
    public void A_full_context_is_told_and_reset_helps()
    {
        using PseudoTerminal terminal = Start("--temp", "0", "--context", "96");
        terminal.TypeLine("Write a very long story about a dog and a cat, with many details.");
        terminal.WaitFor("the context of 96 positions is full");
        terminal.TypeLine("And what happened after that, in even more detail than before?");
        terminal.WaitFor("does not fit into the context of 96 positions");
        terminal.TypeLine("/reset");
        terminal.WaitFor("[conversation forgotten]");
        terminal.TypeLine("What is the capital of France?");
        Assert.Contains("Paris", terminal.WaitFor(Speed), StringComparison.Ordinal);
        terminal.TypeLine("/quit");
        Assert.Equal(0, terminal.WaitForExit());
    }

    [Fact]
    public void A_context_shift_goes_on_where_the_context_is_full()
    {
        using PseudoTerminal terminal = Start("--temp", "0", "--context", "128", "--context-shift", "-n", "40");
        terminal.TypeLine("Tell me about dogs.");
        terminal.WaitFor(Speed);
        terminal.TypeLine("Tell me about cats.");
        terminal.WaitFor("were dropped]");
        terminal.TypeLine("What is the capital of France?");
        Assert.Contains("Paris", terminal.WaitFor(Speed), StringComparison.Ordinal);
        terminal.TypeLine("/quit");
        Assert.Equal(0, terminal.WaitForExit());
    }

    [Fact]
    public void Ctrl_C_stops_an_answer_and_the_next_turn_works()
    {
        using PseudoTerminal terminal = Start("--temp", "0");
        terminal.TypeLine("Write a very long story about a dog and a cat, with many details.");
        // The answer has begun, with words that were not typed (a terminal may echo a line twice): before that the key would still belong to the prompt.
        terminal.WaitFor("Once upon");
        terminal.Type(PseudoTerminal.CtrlC);
        terminal.WaitFor("[stopped");
        terminal.WaitFor("> ");
        terminal.TypeLine("What is the capital of France?");
        Assert.Contains("Paris", terminal.WaitFor(Speed), StringComparison.Ordinal);
        terminal.TypeLine("/quit");
        Assert.Equal(0, terminal.WaitForExit());
    }

    [Fact]
    public void Ctrl_C_twice_quits_with_130()
    {
        using PseudoTerminal terminal = Start("--temp", "0");
        terminal.Type(PseudoTerminal.CtrlC);
        terminal.WaitFor("Ctrl-C again leaves.");
        terminal.Type(PseudoTerminal.CtrlC);
        Assert.Equal(130, terminal.WaitForExit());
    }

    private static PseudoTerminal Start(params string[] options)
    {
        PseudoTerminal terminal = PseudoTerminal.Start(Cli.Host, [Cli.Assembly, "chat", "--exact", .. options]);
        terminal.WaitFor("> ");
        return terminal;
    }
}
