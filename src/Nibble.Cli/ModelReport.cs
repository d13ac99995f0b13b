using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Templates;
using Nibble.Llm.Tokenizers;

namespace Nibble.Cli;

/// <summary>What <c>nibble inspect</c> says about a file as a whole.</summary>
internal sealed record ModelReport
{
    private const int ShownProblems = 10;

    /// <summary>Tensors, encoded ones in the place of their parts; as the file lists them where an encoded one cannot be read.</summary>
    public required IReadOnlyList<IWeightSource> Weights { get; init; }

    /// <summary>Values of all tensors.</summary>
    public required long Parameters { get; init; }

    /// <summary>Bytes of all tensors.</summary>
    public required long TensorBytes { get; init; }

    /// <summary>Mean bits a value.</summary>
    public required double BitsPerWeight { get; init; }

    /// <summary>The architecture's name, or null where the file has none.</summary>
    public required string? Architecture { get; init; }

    /// <summary>What keeps it from running; empty where it runs.</summary>
    public required IReadOnlyList<string> Problems { get; init; }

    /// <summary>Positions of the session whose memory is told, where it runs.</summary>
    public required int? SessionPositions { get; init; }

    /// <summary>Bytes of such a session's keys and values in f16 and of its recurrent states, where it runs.</summary>
    public required long? SessionBytes { get; init; }

    /// <summary>Positions that the model was trained for, where it runs.</summary>
    public required int? ContextLength { get; init; }

    /// <summary>The file of packed weights beside it (<c>--cache-weights</c>), or null where there is none.</summary>
    public required WeightCacheStatus? WeightCache { get; init; }

    /// <summary>The tokenizer, or why there is none.</summary>
    public required string Tokenizer { get; init; }

    /// <summary>The chat template's status.</summary>
    public required string ChatTemplate { get; init; }

    /// <summary>Looks at a file.</summary>
    public static ModelReport Of(GgufFile file)
    {
        IReadOnlyList<IWeightSource> weights = WeightsOf(file);
        long values = weights.Sum(tensor => tensor.RowCount * tensor.Columns);
        long bytes = weights.Sum(tensor => tensor.ByteLength);
        (IReadOnlyList<string> problems, int? positions, long? session, int? context) = TryLoad(file);
        return new ModelReport
        {
            Weights = weights,
            Parameters = values,
            TensorBytes = bytes,
            BitsPerWeight = values == 0 ? 0 : 8.0 * bytes / values,
            Architecture = file.Metadata.FindString("general.architecture"),
            Problems = problems,
            SessionPositions = positions,
            SessionBytes = session,
            ContextLength = context,
            WeightCache = WeightCacheStatus.Of(file),
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
        yield return ("architecture", Architecture is null ? "none" : Llm.Models.Architectures.Find(Architecture) is { } known ? $"{Architecture}: {known.Models}" : Architecture);
        if (SessionBytes is { } session && ContextLength is { } context)
        {
            yield return ("context", $"{Number(context, "N0")} positions");
            yield return ("memory to run", $"{Number((TensorBytes + session) / 1e6, "N1")} MB: weights, and what a session of {Number(SessionPositions!.Value, "N0")} positions keeps in f16");
        }

        if (WeightCache is { } cache)
            yield return ("packed weights", $"{Path.GetFileName(cache.Path)}, {Number(cache.Bytes / 1e6, "N1")} MB: {(cache.Problem is null ? "--cache-weights maps them" : $"--cache-weights will write them anew, for {cache.Problem}")}");
        yield return ("tokenizer", Tokenizer);
        yield return ("chat template", ChatTemplate);
        yield return ("runs", Problems.Count == 0 ? "yes" : "no: " + string.Join(Environment.NewLine, Problems.Take(ShownProblems)));
        if (Problems.Count > ShownProblems) yield return (string.Empty, $"and {Problems.Count - ShownProblems} more; --json lists all");
    }

    private static IReadOnlyList<IWeightSource> WeightsOf(GgufFile file)
    {
        try
        {
            return file.Weights.All;
        }
        catch (GgufException)
        {
            // The model does not run, and what follows says why.
            return file.Tensors;
        }
    }

    private static (IReadOnlyList<string> Problems, int? Positions, long? Session, int? Context) TryLoad(GgufFile file)
    {
        try
        {
            // The reference backend uses weights in place, so that a whole load costs next to nothing.
            using ReferenceBackend backend = new();
            IReadOnlyList<string> problems = ModelSurvey.Problems(file, backend);
            if (problems.Count > 0) return (problems, null, null, null);
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(file.Path), backend, new ModelOptions { BatchTokens = 1 });
            int positions = Math.Min(model.ContextLength, Llm.Sessions.SessionOptions.DefaultContext);
            return ([], positions, model.KvBytes(positions, BlockFormats.F16), model.ContextLength);
        }
        catch (GgufException error)
        {
            return ([error.Reason], null, null, null);
        }
        catch (InsufficientMemoryException error)
        {
            return ([error.Message], null, null, null);
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
