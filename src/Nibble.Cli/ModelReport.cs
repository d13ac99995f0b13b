using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli;

/// <summary>What <c>nibble inspect</c> says about a file as a whole.</summary>
internal sealed record ModelReport
{
    /// <summary>Values of all tensors.</summary>
    public required long Parameters { get; init; }

    /// <summary>Bytes of all tensors.</summary>
    public required long TensorBytes { get; init; }

    /// <summary>Mean bits a value.</summary>
    public required double BitsPerWeight { get; init; }

    /// <summary>Why it does not run, or null.</summary>
    public required string? Problem { get; init; }

    /// <summary>Bytes of keys and values a position in f16, where it runs.</summary>
    public required long? KvBytesPerPosition { get; init; }

    /// <summary>Positions that the model was trained for, where it runs.</summary>
    public required int? ContextLength { get; init; }

    /// <summary>The tokenizer, or why there is none.</summary>
    public required string Tokenizer { get; init; }

    /// <summary>The chat template's status.</summary>
    public required string ChatTemplate { get; init; }

    /// <summary>Looks at a file.</summary>
    public static ModelReport Of(GgufFile file)
    {
        long values = file.Tensors.Sum(tensor => tensor.RowCount * tensor.Columns);
        long bytes = file.Tensors.Sum(tensor => tensor.ByteLength);
        (string? problem, long? kv, int? context) = TryLoad(file.Path);
        return new ModelReport
        {
            Parameters = values,
            TensorBytes = bytes,
            BitsPerWeight = values == 0 ? 0 : 8.0 * bytes / values,
            Problem = problem,
            KvBytesPerPosition = kv,
            ContextLength = context,
            Tokenizer = TokenizerStatus(file.Metadata),
            ChatTemplate = TemplateStatus(file.Metadata),
        };
    }

    /// <summary>The report as pairs for a table.</summary>
    public IEnumerable<(string What, string Value)> Rows()
    {
        static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
        yield return ("parameters", Number(Parameters, "N0"));
        yield return ("weights", $"{Number(TensorBytes / 1e6, "N1")} MB, {Number(BitsPerWeight, "F2")} bits a weight");
        if (KvBytesPerPosition is { } kv && ContextLength is { } context)
        {
            int positions = Math.Min(context, Llm.Sessions.SessionOptions.DefaultContext);
            yield return ("context", $"{Number(context, "N0")} positions");
            yield return ("memory to run", $"{Number((TensorBytes + (kv * positions)) / 1e6, "N1")} MB: weights and keys and values of {Number(positions, "N0")} positions in f16");
        }

        yield return ("tokenizer", Tokenizer);
        yield return ("chat template", ChatTemplate);
        yield return ("runs", Problem is null ? "yes" : "no: " + Problem);
    }

    private static (string? Problem, long? Kv, int? Context) TryLoad(string path)
    {
        try
        {
            // The reference backend uses weights in place, so that a whole load costs next to nothing.
            using ReferenceBackend backend = new();
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = 1 });
            return (null, model.KvBytes(1, BlockFormats.F16), model.ContextLength);
        }
        catch (GgufException error)
        {
            return (error.Reason, null, null);
        }
        catch (InsufficientMemoryException error)
        {
            return (error.Message, null, null);
        }
    }

    private static string TokenizerStatus(GgufMetadata metadata)
    {
        try
        {
            Tokenizer tokenizer = Llm.Tokenizers.Tokenizer.FromMetadata(metadata);
            return $"{tokenizer.Vocabulary.Count} tokens";
        }
        catch (Exception error) when (error is TokenizerException or GgufException)
        {
            return "unusable: " + error.Message;
        }
    }

    private static string TemplateStatus(GgufMetadata metadata)
    {
        if (metadata.FindString("tokenizer.chat_template") is not { } source) return "none; chat falls back on ChatML";
        try
        {
            JinjaTemplate.Parse(source);
            return $"{source.Length} characters, parsed";
        }
        catch (TemplateException error)
        {
            return "broken: " + error.Message;
        }
    }
}
