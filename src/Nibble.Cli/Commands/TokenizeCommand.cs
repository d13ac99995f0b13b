using System.CommandLine;
using System.Text;
using Nibble.Core.Gguf;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli.Commands;

/// <summary><c>nibble tokenize</c>: texts to ids.</summary>
internal static class TokenizeCommand
{
    /// <summary>The command.</summary>
    public static Command Create()
    {
        Argument<string?> model = ModelArguments.ModelArgument();
        Option<string?> text = new("--text") { Description = "The text." };
        Option<bool> stdin0 = new("--stdin0") { Description = "Read texts from standard input, each ended by a NUL." };
        Option<bool> special = new("--special") { Description = "Parse the text of special tokens, as <|im_start|>." };
        Option<bool> bare = new("--bare") { Description = "Add no BOS and EOS." };
        Command command = new("tokenize", "Print the ids of texts, a line for each text.") { model, text, stdin0, special, bare };
        command.SetAction(parsed =>
        {
            string? single = parsed.GetValue(text);
            if (single is null != parsed.GetValue(stdin0)) throw new UsageException("give either --text T or --stdin0.");
            using GgufFile file = GgufFile.Open(ModelCatalog.Open().Resolve(parsed.GetValue(model)));
            Tokenizer tokenizer = Tokenizer.FromMetadata(file.Metadata);
            foreach (string warning in tokenizer.Warnings)
                Terminal.Warning(warning);
            using StreamWriter output = new(Console.OpenStandardOutput(), new UTF8Encoding(false), 1 << 16);
            foreach (string one in single is null ? ReadTexts(Console.OpenStandardInput()) : [single])
                output.Write(string.Join(' ', tokenizer.Encode(one, parsed.GetValue(special), !parsed.GetValue(bare))) + "\n");
            return 0;
        });
        Examples.Attach(command, "nibble tokenize --text \"Hello world\"", "printf 'one\\0two\\0' | nibble tokenize model.gguf --stdin0 --special --bare");
        return command;
    }

    private static IEnumerable<string> ReadTexts(Stream input)
    {
        using MemoryStream all = new();
        input.CopyTo(all);
        byte[] bytes = all.ToArray();
        for (int start = 0; start < bytes.Length;)
        {
            int end = Array.IndexOf(bytes, (byte)0, start);
            if (end < 0) throw new UsageException("standard input does not end with a NUL; with --stdin0 each text ends with one.");
            yield return Utf8Text.Read(bytes.AsSpan(start, end - start), "standard input");
            start = end + 1;
        }
    }
}
