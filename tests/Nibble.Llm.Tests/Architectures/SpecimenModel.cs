using System.Globalization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;

namespace Nibble.Llm.Tests.Architectures;

/// <summary>A specimen as a file, and what becomes of its logits when something of it is left out.</summary>
internal sealed class SpecimenModel : IDisposable
{
    /// <summary>An NMSE above which logits are others.</summary>
    public const double Moved = 1e-5;

    private readonly TempFolder _folder = new();
    private readonly Specimen _specimen;

    /// <summary>Writes the file.</summary>
    public SpecimenModel(Specimen specimen)
    {
        _specimen = specimen;
        Model = SpecimenFile.Describe(specimen);
        FilePath = _folder.File("specimen.gguf");
        Model.Write(FilePath, Specimen.Seed);
    }

    /// <summary>The description.</summary>
    public SyntheticModel Model { get; }

    /// <summary>The file.</summary>
    public string FilePath { get; }

    /// <summary>Keys of the architecture that it reads and the specimen has, without the architecture's name.</summary>
    public IEnumerable<string> Keys => _specimen.Metadata.Select(entry => entry.Key).Where(Model.Keys.Contains).Select(key => key[(_specimen.Architecture.Length + 1)..]);

    /// <summary>Optional tensors that the specimen has, without the number of their layer.</summary>
    public IEnumerable<string> OptionalTensors => Model.Tensors.Select(tensor => tensor.Name).Where(Model.OptionalTensors.Contains).Select(WithoutLayer).Distinct();

    /// <summary>The logits of a prompt at every position, [tokens x vocabulary], with keys and values in float32.</summary>
    public static float[] Logits(LanguageModel model, ReadOnlySpan<int> ids)
    {
        using Session session = NewSession(model);
        return Continue(session, ids);
    }

    /// <summary>A session as the goldens were made in.</summary>
    public static Session NewSession(LanguageModel model) => model.NewSession(new SessionOptions { Context = Specimen.Context, KvFormat = BlockFormats.F32 });

    /// <summary>The logits of ids that a session appends, [tokens x vocabulary].</summary>
    public static float[] Continue(Session session, ReadOnlySpan<int> ids)
    {
        int start = session.Length, vocabulary = session.Model.VocabularySize;
        float[] all = new float[ids.Length * vocabulary];
        session.Evaluate(ids, 0, (position, logits) => logits.CopyTo(all.AsSpan((position - start) * vocabulary)));
        return all;
    }

    /// <summary>Loads the specimen.</summary>
    public LanguageModel Load(Backend backend, int batch = 80) => Load(FilePath, backend, batch);

    /// <summary>The logits with a key left out. Throws where the file is then refused.</summary>
    public float[] LogitsWithoutKey(string key, Backend backend) => LogitsOf(writer => writer.Remove($"{_specimen.Architecture}.{key}"), backend);

    /// <summary>The logits with another value of a key. Throws where the file is then refused.</summary>
    public float[] LogitsWithOtherKey(string key, Backend backend)
    {
        string name = $"{_specimen.Architecture}.{key}";
        return LogitsOf(writer => writer.Set(name, Other(_specimen.Metadata.Single(entry => entry.Key == name).Value)), backend);
    }

    /// <summary>The logits with an optional tensor left out of all layers. Throws where the file is then refused.</summary>
    public float[] LogitsWithoutTensor(string tensor, Backend backend)
    {
        string path = _folder.File("without.gguf");
        SpecimenFile.Describe(_specimen, name => WithoutLayer(name) == tensor).Write(path, Specimen.Seed);
        using LanguageModel model = Load(path, backend, Specimen.Prompt.Length);
        return Logits(model, Specimen.Prompt);
    }

    /// <summary>The highest NMSE of a position.</summary>
    public static double WorstNmse(ReadOnlySpan<float> ours, ReadOnlySpan<float> theirs, int vocabulary)
    {
        double worst = 0;
        for (int i = 0; i < theirs.Length; i += vocabulary)
        {
            double nmse = Nmse.Of(ours.Slice(i, vocabulary), theirs.Slice(i, vocabulary));
            if (!(nmse <= worst)) worst = nmse;
        }

        return worst;
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();

    private static string WithoutLayer(string tensor) =>
        tensor.StartsWith("blk.", StringComparison.Ordinal) ? tensor[(tensor.IndexOf('.', 4) + 1)..] : tensor;

    private static LanguageModel Load(string path, Backend backend, int batch) =>
        LanguageModel.Load(GgufFile.Open(path), backend, new ModelOptions { BatchTokens = batch });

    private static GgufValue Other(GgufValue value)
    {
        switch (value.Type)
        {
            case GgufValueType.UInt32: return value.ToString() is "0" ? 1u : 2 * uint.Parse(value.ToString(), CultureInfo.InvariantCulture);
            case GgufValueType.Float32: return 1.25f * float.Parse(value.ToString(), CultureInfo.InvariantCulture);
            case GgufValueType.Boolean: return !bool.Parse(value.ToString());
            case GgufValueType.String: return value.ToString() + "?";
            default:
                uint[] numbers = [.. value.ToString().Trim('[', ']').Split(", ").Select(text => uint.Parse(text, CultureInfo.InvariantCulture))];
                return GgufValue.Array([numbers[^1], .. numbers.AsSpan(0, numbers.Length - 1)]);
        }
    }

    private float[] LogitsOf(Action<GgufWriter> change, Backend backend)
    {
        string path = _folder.File("changed.gguf");
        using (GgufFile file = GgufFile.Open(FilePath))
        {
            GgufWriter writer = GgufWriter.From(file);
            change(writer);
            writer.Write(path);
        }

        using LanguageModel model = Load(path, backend, Specimen.Prompt.Length);
        return Logits(model, Specimen.Prompt);
    }
}
