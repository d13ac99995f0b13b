using System.Globalization;
using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests;

/// <summary>The models that tests run, and the backends that they run on.</summary>
internal static class TestModels
{
    /// <summary>The committed default model.</summary>
    public static string SmolLm2 { get; } = Path.Combine(Fixtures.Root, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    /// <summary>The 96 ids that the tiny models were run on.</summary>
    public static int[] Tokens { get; } = ParseIds(File.ReadAllText(Fixtures.Golden("architectures", "tokens.txt")));

    /// <summary>A tiny model of tests/golden/architectures.</summary>
    public static string Tiny(string name) => Fixtures.Golden("architectures", name + ".gguf");

    /// <summary>A backend by the name that the tests give it.</summary>
    public static Backend Open(string backend, int threads = 2) => backend switch
    {
        "reference" => new ReferenceBackend(),
        "cpu" => new CpuBackend(new CpuOptions { Threads = threads }),
        "cpu-exact" => new CpuBackend(new CpuOptions { Threads = threads, Exact = true }),
        _ => throw new ArgumentOutOfRangeException(nameof(backend), backend, "reference, cpu or cpu-exact"),
    };

    /// <summary>Loads a model.</summary>
    public static LanguageModel Load(string path, Backend backend, int batch = 512) =>
        LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = batch });

    /// <summary>A session that keeps keys and values in float32.</summary>
    public static Session ExactSession(LanguageModel model, int context = 512) =>
        model.NewSession(new SessionOptions { Context = context, KvFormat = BlockFormats.F32 });

    /// <summary>The logits of every id, [ids x vocabulary].</summary>
    public static float[] Logits(Session session, ReadOnlySpan<int> ids)
    {
        int start = session.Length, vocabulary = session.Model.VocabularySize;
        float[] all = new float[ids.Length * vocabulary];
        session.Evaluate(ids, 0, (position, logits) => logits.CopyTo(all.AsSpan((position - start) * vocabulary)), TestContext.Current.CancellationToken);
        return all;
    }

    /// <summary>The ids that greedy decoding appends, an id of <paramref name="ends"/> included.</summary>
    public static List<int> Greedy(Session session, ReadOnlySpan<int> prompt, int count, params ReadOnlySpan<int> ends)
    {
        List<int> ids = [];
        session.Prefill(prompt, TestContext.Current.CancellationToken);
        while (ids.Count < count)
        {
            int best = 0;
            ReadOnlySpan<float> logits = session.Logits;
            for (int i = 1; i < logits.Length; i++)
                if (logits[i] > logits[best]) best = i;
            ids.Add(best);
            if (ends.Contains(best)) break;
            if (ids.Count < count) session.Evaluate([best], TestContext.Current.CancellationToken);
        }

        return ids;
    }

    /// <summary>Writes a tiny model with some keys changed, as <c>key=value</c>, to a temporary file that the caller deletes.</summary>
    public static string WriteChanged(string name, string[] changes)
    {
        string path = Path.Combine(Path.GetTempPath(), $"nibble-{name}-{Guid.NewGuid():N}.gguf");
        using GgufFile original = GgufFile.Open(Tiny(name));
        GgufWriter writer = GgufWriter.From(original);
        foreach (string[] change in changes.Select(text => text.Split('=')))
        {
            writer.Set(change[0], original.Metadata.TypeOf(change[0]) switch
            {
                GgufValueType.String => change[1],
                GgufValueType.Float32 => float.Parse(change[1], CultureInfo.InvariantCulture),
                _ => uint.Parse(change[1], CultureInfo.InvariantCulture),
            });
        }

        writer.Write(path);
        return path;
    }

    /// <summary>Ids separated by commas or white space.</summary>
    public static int[] ParseIds(string text) =>
        [.. text.Split([',', ' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries).Select(part => int.Parse(part, CultureInfo.InvariantCulture))];

    /// <summary>An array of whole numbers.</summary>
    public static int[] Ints(JsonElement array) => [.. array.EnumerateArray().Select(element => element.GetInt32())];
}
