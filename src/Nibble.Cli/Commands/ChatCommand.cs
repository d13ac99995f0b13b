using System.CommandLine;
using Nibble.Llm.Generation;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble chat</c>: a conversation.</summary>
internal static class ChatCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        SamplerArguments samplers = new();
        TemplateArguments template = new();
        Option<string?> system = new("--system") { Description = "The system message." };
        Option<string?> prompt = new("--prompt", "-p") { Description = "The first message; the conversation goes on after its answer." };
        Command command = new("chat", "Talk with a model. /help lists what can be typed.") { system, prompt };
        model.AddTo(command);
        samplers.AddTo(command);
        template.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            ChatOptions options = new()
            {
                System = parsed.GetValue(system),
                Sampling = samplers.Sampling(parsed),
                Generation = samplers.Generation(parsed),
                Context = model.Context(parsed),
                KvFormat = model.KvFormat(parsed),
                ContextShift = samplers.ContextShift(parsed),
            };
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed, template.Source(parsed));
            foreach (string warning in loaded.ChatTemplate.Warnings)
                Terminal.Warning(warning);
            using Chat chat = new(loaded, options);
            return Task.FromResult(new ChatLoop(loaded, chat, interruption).Run(parsed.GetValue(prompt)));
        });
        Examples.Attach(
            command,
            "nibble chat",
            "nibble chat model.gguf --system \"Answer in one sentence.\" --temp 0.7",
            "echo \"What is the capital of France?\" | nibble chat --temp 0",
            "nibble chat --device opencl");
        return command;
    }
}
