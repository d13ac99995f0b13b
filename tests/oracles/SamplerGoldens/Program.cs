using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Nibble.Llm.Tests.Sampling;
using SamplerGoldens;

// Computes tests/golden/samplers/*.bin with libllama. It shares vectors and flags with the tests, and no sampler code with Nibble.
if (args.Length != 2)
{
    Console.Error.WriteLine("usage: SamplerGoldens LIBLLAMA.so OUTPUT_FOLDER");
    return 2;
}
nint library = NativeLibrary.Load(Path.GetFullPath(args[0]));
NativeLibrary.SetDllImportResolver(Assembly.GetExecutingAssembly(), (name, _, _) => name == Llama.Library ? library : 0);
Directory.CreateDirectory(args[1]);
foreach (SamplerCase sampler in SamplerCase.All)
{
    string path = Path.Combine(args[1], sampler.Name + ".bin");
    using (BinaryWriter writer = new(File.Create(path)))
        for (int index = 0; index < LogitVectors.Count; index++) Oracle.Write(writer, sampler, index);
    Console.WriteLine($"{sampler.Name}: {new FileInfo(path).Length} bytes");
}
return 0;

internal static unsafe class Oracle
{
    private const string DefaultSequence = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature";

    /// <summary>Writes for each step: the number of candidates of probability above 0, their lowest probability, the drawn token, how many follow, and those by falling probability.</summary>
    public static void Write(BinaryWriter writer, SamplerCase sampler, int index)
    {
        float[] logits = LogitVectors.Make(index, sampler.Vectors);
        nint chain = Chain(Flags.Parse(sampler.Flags), logits.Length);
        foreach (int token in LogitVectors.History(index)) Llama.Accept(chain, token);
        for (int step = 0; step < sampler.Steps; step++)
        {
            Llama.TokenData[] data = [.. logits.Select((logit, id) => new Llama.TokenData { Id = id, Logit = logit })];
            fixed (Llama.TokenData* pointer = data)
            {
                Llama.TokenDataArray array = new() { Data = pointer, Size = (nuint)data.Length, Selected = -1 };
                Llama.Apply(chain, &array);
                Llama.TokenData[] left = [.. new ReadOnlySpan<Llama.TokenData>(array.Data, (int)array.Size).ToArray().Where(candidate => candidate.P > 0).OrderByDescending(candidate => candidate.P).ThenBy(candidate => candidate.Id)];
                if (left.Length == 0 || left.Any(candidate => !float.IsFinite(candidate.P))) throw new InvalidOperationException($"{sampler.Name}, vector {index}: libllama gave no finite probabilities.");
                writer.Write((ushort)left.Length);
                writer.Write(left[^1].P);
                writer.Write((ushort)array.Data[array.Selected].Id);
                int stored = Math.Min(left.Length, SamplerCase.Stored);
                writer.Write((ushort)stored);
                foreach (Llama.TokenData candidate in left.AsSpan(0, stored))
                {
                    writer.Write((ushort)candidate.Id);
                    writer.Write(candidate.P);
                }
            }
        }
        Llama.Free(chain);
    }

    // The chain that llama.cpp's command line makes of the flags (common/sampling.cpp, v0.5.0).
    private static nint Chain(Flags flags, int vocabulary)
    {
        nint chain = Llama.ChainInit(1);
        Llama.LogitBias[] biases = [.. flags.All("--logit-bias").Select(Bias)];
        if (biases.Length > 0)
            fixed (Llama.LogitBias* pointer = biases)
                Llama.ChainAdd(chain, Llama.LogitBiases(vocabulary, biases.Length, pointer));
        float temperature = flags.Number("--temp", 0.8f);
        float tau = flags.Number("--mirostat-ent", 5), eta = flags.Number("--mirostat-lr", 0.1f);
        switch (flags.Number("--mirostat", 0))
        {
            case 1:
                Llama.ChainAdd(chain, Llama.Temp(temperature));
                Llama.ChainAdd(chain, Llama.Mirostat(vocabulary, 1, tau, eta, 100));
                return chain;
            case 2:
                Llama.ChainAdd(chain, Llama.Temp(temperature));
                Llama.ChainAdd(chain, Llama.MirostatV2(1, tau, eta));
                return chain;
        }
        nuint minKeep = (nuint)flags.Number("--min-keep", 0);
        foreach (string name in (flags.All("--samplers").LastOrDefault() ?? DefaultSequence).Split(';', StringSplitOptions.RemoveEmptyEntries))
            Llama.ChainAdd(chain, name switch
            {
                "penalties" => Llama.Penalties(vocabulary, (int)flags.Number("--repeat-last-n", 64), flags.Number("--repeat-penalty", 1), flags.Number("--frequency-penalty", 0), flags.Number("--presence-penalty", 0)),
                "dry" => Dry(flags, vocabulary),
                "top_n_sigma" => Llama.TopNSigma(flags.Number("--top-nsigma", -1)),
                "top_k" => Llama.TopK((int)flags.Number("--top-k", 40)),
                "typ_p" => Llama.Typical(flags.Number("--typical", 1), minKeep),
                "top_p" => Llama.TopP(flags.Number("--top-p", 0.95f), minKeep),
                "min_p" => Llama.MinP(flags.Number("--min-p", 0.05f), minKeep),
                "xtc" => Llama.Xtc(flags.Number("--xtc-probability", 0), flags.Number("--xtc-threshold", 0.1f), minKeep, 1),
                "temperature" => Llama.TempExt(temperature, flags.Number("--dynatemp-range", 0), flags.Number("--dynatemp-exp", 1)),
                _ => throw new ArgumentException($"The case names an unknown sampler '{name}'."),
            });
        Llama.ChainAdd(chain, Llama.Dist(1));
        return chain;
    }

    private static nint Dry(Flags flags, int vocabulary)
    {
        float multiplier = flags.Number("--dry-multiplier", 0);
        // The testing variant cannot make a DRY that is off; a penalty without effect stands for it.
        if (multiplier == 0) return Llama.Penalties(vocabulary, 0, 1, 0, 0);
        int[][] breakers = [.. flags.All("--dry-sequence-breaker").Where(text => text != "none").Select(text => text.Select(piece => piece - SamplerCase.FirstPiece).ToArray())];
        Llama.StdVector* vectors = stackalloc Llama.StdVector[breakers.Length + 1];
        for (int i = 0; i < breakers.Length; i++)
        {
            int* tokens = (int*)NativeMemory.Alloc((nuint)breakers[i].Length, sizeof(int));
            breakers[i].CopyTo(new Span<int>(tokens, breakers[i].Length));
            vectors[i] = new() { Begin = tokens, End = tokens + breakers[i].Length, Capacity = tokens + breakers[i].Length };
        }
        Llama.StdVector outer = new() { Begin = vectors, End = vectors + breakers.Length, Capacity = vectors + breakers.Length };
        nint sampler = Llama.Dry(multiplier, flags.Number("--dry-base", 1.75f), (int)flags.Number("--dry-allowed-length", 2), (int)flags.Number("--dry-penalty-last-n", 64), &outer);
        for (int i = 0; i < breakers.Length; i++) NativeMemory.Free(vectors[i].Begin);
        return sampler;
    }

    private static Llama.LogitBias Bias(string text)
    {
        int sign = text.IndexOfAny(['+', '-']);
        float magnitude = text[(sign + 1)..] == "inf" ? float.PositiveInfinity : float.Parse(text.AsSpan(sign + 1), CultureInfo.InvariantCulture);
        return new() { Token = int.Parse(text.AsSpan(0, sign), CultureInfo.InvariantCulture), Bias = text[sign] == '-' ? -magnitude : magnitude };
    }
}

internal sealed class Flags
{
    private readonly List<(string Flag, string Value)> _pairs = [];

    public static Flags Parse(string[] flags)
    {
        Flags result = new();
        for (int i = 0; i < flags.Length; i += 2) result._pairs.Add((flags[i], flags[i + 1]));
        return result;
    }

    public IEnumerable<string> All(string flag) => _pairs.Where(pair => pair.Flag == flag).Select(pair => pair.Value);

    public float Number(string flag, float fallback) => All(flag).LastOrDefault() is string text ? float.Parse(text, CultureInfo.InvariantCulture) : fallback;
}
