using System.Text.Encodings.Web;
using System.Text.Json;
using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Quantize.Import;
using Nibble.Quantize.Methods;

namespace Nibble.Quantize.Quantization;

/// <summary>What a tensor becomes, by name.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Target">What it becomes.</param>
/// <param name="Method">How it is rounded.</param>
public sealed record RecipeTensor(string Name, TensorTarget Target, RoundingMethod Method);

/// <summary>The text that activations were looked at on.</summary>
/// <param name="Sha256">Of its bytes, in small hexadecimal digits.</param>
/// <param name="ChunkTokens">Ids of a chunk.</param>
/// <param name="Chunks">Chunks at most, spread over the text; 0 for all.</param>
/// <param name="HeldOut">The share of the chunks that ranges of activations are checked on, 0 to 0.5.</param>
public sealed record RecipeText(string Sha256, int ChunkTokens, int Chunks, double HeldOut = 0);

/// <summary>A JSON file that says what each tensor of a model becomes and how: with the same model, text and program it gives the same file, bit for bit. Tensors that it does not name stay as they are.</summary>
public sealed record QuantizationRecipe
{
    private const string VersionKey = "nibble_recipe";
    private const int Version = 1;

    /// <summary>What <c>general.file_type</c> says, or null for nothing.</summary>
    public FileType? Type { get; init; }

    /// <summary>What is done to layers before they are rounded, or null.</summary>
    public LayerTransform? Transform { get; init; }

    /// <summary>The text, where a method looks at activations; else null.</summary>
    public RecipeText? Text { get; init; }

    /// <summary>The SHA-256 of the importance matrix's file in small hexadecimal digits, or null where there is none.</summary>
    public string? ImportanceSha256 { get; init; }

    /// <summary>What tensors become.</summary>
    public required IReadOnlyList<RecipeTensor> Tensors { get; init; }

    /// <summary>The recipe of a plan.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="text">The text that its statistics come from, or null.</param>
    /// <param name="importanceSha256">The SHA-256 of the importance matrix's file, or null.</param>
    public static QuantizationRecipe Of(QuantizationPlan plan, RecipeText? text, string? importanceSha256)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return new QuantizationRecipe
        {
            Type = plan.Type,
            Transform = plan.Transform,
            Text = text,
            ImportanceSha256 = importanceSha256,
            Tensors = [.. plan.Tensors.Where(tensor => !tensor.IsKept).Select(tensor => new RecipeTensor(tensor.Source.Name, tensor.Target, tensor.Method))],
        };
    }

    /// <summary>Reads a recipe.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="QuantizationException">It is none, or one of another version; the message names the field, its value and what was expected.</exception>
    public static QuantizationRecipe Read(string path)
    {
        if (!File.Exists(path)) throw new QuantizationException($"there is no recipe '{path}'.");
        try
        {
            JsonFields fields = JsonFields.Read(path);
            fields.Integer(VersionKey, Version, Version);
            JsonFields? text = fields.FindObject("text");
            HashSet<string> seen = new(StringComparer.Ordinal);
            return new QuantizationRecipe
            {
                Type = fields.FindText("type") is not { } type ? null : FileType.Find(type) ?? throw fields.Error("type", $"one of {string.Join(", ", FileType.All)} is needed"),
                Transform = fields.FindText("transform") is not { } transform ? null : RoundingMethods.FindTransform(transform) ?? throw fields.Error("transform", "'awq' or 'smooth' is needed, or nothing"),
                Text = text is null ? null : new RecipeText(text.Text("sha256"), text.Integer("chunk", 4, 1 << 20), text.Integer("chunks", 0, int.MaxValue), HeldOutOf(text)),
                ImportanceSha256 = fields.FindText("importance_sha256"),
                Tensors = [.. fields.Objects("tensors").Select(tensor => ReadTensor(tensor, seen))],
            };
        }
        catch (ImportException error)
        {
            throw new QuantizationException($"the recipe cannot be used: {error.Message}");
        }
    }

    /// <summary>Writes the recipe.</summary>
    /// <param name="stream">Where to.</param>
    public void Write(Stream stream)
    {
        using Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        writer.WriteStartObject();
        writer.WriteNumber(VersionKey, Version);
        if (Type is not null) writer.WriteString("type", Type.Name);
        if (Transform is not null) writer.WriteString("transform", Transform.Name);
        if (Text is { } text)
        {
            writer.WriteStartObject("text");
            writer.WriteString("sha256", text.Sha256);
            writer.WriteNumber("chunk", text.ChunkTokens);
            writer.WriteNumber("chunks", text.Chunks);
            if (text.HeldOut > 0) writer.WriteNumber("held_out", text.HeldOut);
            writer.WriteEndObject();
        }

        if (ImportanceSha256 is not null) writer.WriteString("importance_sha256", ImportanceSha256);
        writer.WriteStartArray("tensors");
        foreach (RecipeTensor tensor in Tensors)
        {
            writer.WriteStartObject();
            writer.WriteString("name", tensor.Name);
            writer.WriteString("target", tensor.Target.Name);
            writer.WriteString("method", tensor.Method.Name);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>The plan for a model.</summary>
    /// <param name="file">The model.</param>
    /// <exception cref="QuantizationException">The model has no tensor of a name, or its rows do not fit.</exception>
    public QuantizationPlan Plan(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        Dictionary<string, RecipeTensor> wanted = Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        RoundToNearest nearest = new();
        List<PlannedTensor> planned = [];
        foreach (IWeightSource source in file.Weights.All)
            planned.Add(wanted.Remove(source.Name, out RecipeTensor? tensor) ? new PlannedTensor(source, tensor.Target, tensor.Method) : new PlannedTensor(source, QuantizationPlan.Kept(source), nearest));
        return wanted.Count == 0 ? QuantizationPlan.Of(Type, planned, Transform)
            : throw new QuantizationException($"the recipe is for another model: it names '{wanted.Keys.First()}'{(wanted.Count > 1 ? $" and {wanted.Count - 1} more tensors" : string.Empty)}, which the model does not have.");
    }

    private static double HeldOutOf(JsonFields text) => text.Number("held_out", 0) is >= 0 and <= 0.5 and var share ? share : throw text.Error("held_out", "a share of 0 to 0.5 is needed");

    private static RecipeTensor ReadTensor(JsonFields fields, HashSet<string> seen)
    {
        string name = fields.Text("name");
        if (!seen.Add(name)) throw fields.Error("name", "it is there already; each tensor is named once");
        TensorTarget target = TensorTarget.Find(fields.Text("target")) ?? throw fields.Error("target", $"a format of weights or one of {TensorTarget.Spellings} is needed");
        RoundingMethod method = RoundingMethods.Find(fields.Text("method")) ?? throw fields.Error("method", "'rtn', 'gptq', 'awq' or 'hqq' with its settings is needed");
        return method.Supports(target) ? new RecipeTensor(name, target, method) : throw fields.Error("method", $"it does not make {target}");
    }
}
