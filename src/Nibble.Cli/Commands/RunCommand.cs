using System.CommandLine;
using System.Globalization;
using Nibble.Llm.Generation;
using Nibble.Llm.Sampling;
using Nibble.Llm.Sessions;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble run</c>: one prompt, one answer.</summary>
internal static class RunCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        SamplerArguments samplers = new();
        TemplateArguments template = new();
        Option<string?> prompt = new("--prompt", "-p") { Description = "The prompt." };
        Option<string?> tokens = new("--tokens") { Description = "Ids separated by commas, in place of --prompt; no template, no BOS is added." };
        Option<string?> system = new("--system") { Description = "The system message." };
        Option<bool> raw = new("--raw") { Description = "Continue the prompt as it is, without the chat template. Special tokens in it are parsed." };
        Option<int?> keep = new("--keep") { Description = "Tokens at the start that --context-shift keeps; without it the BOS." };
        Option<bool> showIds = new("--ids") { Description = "Print the generated ids separated by commas, not the text." };
        Command command = new("run", "Answer one prompt.") { prompt, tokens, system, raw, showIds, keep };
        keep.Validators.Add(result => ModelArguments.CheckRange(result, 0, 16 << 20));
        model.AddTo(command);
        samplers.AddTo(command);
        template.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            string? text = parsed.GetValue(prompt), ids = parsed.GetValue(tokens), systemText = parsed.GetValue(system);
            if (text is null == ids is null) throw new UsageException("give either --prompt T or --tokens 1,2,3.");
            bool isRaw = parsed.GetValue(raw) || ids is not null;
            if (isRaw && systemText is not null) throw new UsageException("--system needs the chat template; leave out --raw or --tokens.");
            string? templateSource = template.Source(parsed);
            if (isRaw && templateSource is not null) throw new UsageException("a chat template is not used with --raw or --tokens; leave one of them out.");
            int[]? given = ids is null ? null : ModelArguments.ParseIds(ids, "--tokens");
            SamplingOptions sampling = samplers.Sampling(parsed);
            GenerationOptions generation = samplers.Generation(parsed);
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed, templateSource);
            bool asIds = parsed.GetValue(showIds);
            Tokenizer? tokenizer = asIds ? loaded.TokenizerOrNull : loaded.Tokenizer;
            int[] promptIds = given ?? Prompt(loaded, text!, systemText, isRaw);
            if (promptIds.Length == 0) throw new UsageException("the prompt is empty, and the model has no BOS to start from; give some text.");
            bool hasBos = promptIds[0] == tokenizer?.Vocabulary.Special.Bos;
            using Session session = model.NewSession(parsed, loaded, samplers.ContextShift(parsed), parsed.GetValue(keep) ?? (hasBos ? 1 : 0));
            return Task.FromResult(Generate(loaded, session, promptIds, sampling, generation, asIds, interruption));
        });
        Examples.Attach(
            command,
            "nibble run --prompt \"What is the capital of France?\" --temp 0",
            "nibble run model.gguf --prompt \"Once upon a time\" --raw -n 64 --seed 7",
            "nibble run --tokens 1,2,3 --ids -n 8 --temp 0",
            "nibble run model.gguf --device opencl --gpu-layers 12 --prompt \"Hello\"");
        return command;
    }

    private static int[] Prompt(Model model, string text, string? system, bool isRaw)
    {
        if (isRaw) return model.Tokenizer.Encode(text, parseSpecial: true, addBosEos: true);
        foreach (string warning in model.ChatTemplate.Warnings)
            Terminal.Warning(warning);
        ChatMessage[] messages = system is null ? [new("user", text)] : [new("system", system), new("user", text)];
        return [.. model.Encode(model.ChatTemplate.Render(messages, addGenerationPrompt: true, TimeProvider.System.GetLocalNow()))];
    }

    private static int Generate(Model model, Session session, int[] prompt, SamplingOptions sampling, GenerationOptions options, bool showIds, Interruption interruption)
    {
        SamplerChain sampler = model.NewSampler(sampling);
        session.Prefill(prompt, interruption.Token);
        foreach (int id in prompt)
            sampler.Accept(id);
        Generator generator = new(session, model.TokenizerOrNull, sampler, options);
        TextWriter output = Console.Out;
        try
        {
            while (generator.Next(interruption.Token))
            {
                if (showIds)
                    output.Write((generator.Count == 1 ? string.Empty : ",") + generator.Id.ToString(CultureInfo.InvariantCulture));
                else
                    output.Write(generator.Text);
                output.Flush();
            }
        }
        finally
        {
            // Also what was held back when the answer was stopped or the context became full.
            generator.Flush();
            if (!showIds) output.Write(generator.Text);
            output.WriteLine();
            output.Flush();
        }

        return 0;
    }
}
