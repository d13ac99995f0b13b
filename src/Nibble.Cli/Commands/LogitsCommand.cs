using System.CommandLine;
using System.Runtime.InteropServices;
using Nibble.Llm.Sessions;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble logits</c>: the logits of every position of a list of ids.</summary>
internal static class LogitsCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string> tokens = new("--tokens") { Description = "Ids separated by commas.", Required = true };
        Option<FileInfo> output = new("--out", "-o") { Description = "The file: float32, little-endian, [tokens x vocabulary].", Required = true };
        Command command = new("logits", "Write the logits of every position of a list of ids to a file.") { tokens, output };
        model.AddTo(command);
        command.SetAction((parsed, _) =>
        {
            int[] ids = ModelArguments.ParseIds(parsed.GetValue(tokens)!, "--tokens");
            using Interruption interruption = new();
            using Model loaded = model.Load(parsed, context: ids.Length);
            using Session session = loaded.Language.NewSession(new SessionOptions { Context = model.Context(parsed) ?? ids.Length, KvFormat = model.KvFormat(parsed) });
            string path = parsed.GetValue(output)!.FullName;
            if (loaded.Language.File.PartPaths.Contains(path)) throw new UsageException($"--out names the model itself, '{path}'; name another file.");
            OutputFile.Write(path, file => session.Evaluate(ids, 0, (_, logits) => file.Write(MemoryMarshal.AsBytes(logits)), interruption.Token));
            Terminal.Note($"{ids.Length} x {loaded.Language.VocabularySize} logits written to {path}");
            return Task.FromResult(0);
        });
        Examples.Attach(command, "nibble logits --tokens 1,9690,198 --out logits.f32", "nibble logits model.gguf --tokens 1,2,3 --out logits.f32 --exact --batch 1");
        return command;
    }
}
