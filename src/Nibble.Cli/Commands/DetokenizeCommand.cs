using System.CommandLine;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble detokenize</c>: ids to text.</summary>
internal static class DetokenizeCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string?> model = ModelArguments.ModelArgument();
        Option<string> ids = new("--ids") { Description = "Ids separated by commas.", Required = true };
        Command command = new("detokenize", "Print the text of ids, special tokens included.") { model, ids };
        command.SetAction(parsed =>
        {
            int[] tokens = ModelArguments.ParseIds(parsed.GetValue(ids)!, "--ids");
            using GgufFile file = GgufFile.Open(ModelCatalog.Open().Resolve(parsed.GetValue(model)));
            Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
            foreach (int id in tokens)
                if (id >= tokenizer.Vocabulary.Count) throw new UsageException($"token {id} is not in the vocabulary, whose ids are 0 to {tokenizer.Vocabulary.Count - 1}.");
            Console.Out.Write(tokenizer.Decode(tokens, renderSpecial: true));
            if (!Console.IsOutputRedirected) Console.Out.WriteLine();
            return 0;
        });
        Examples.Attach(command, "nibble detokenize --ids 19556,905");
        return command;
    }
}
