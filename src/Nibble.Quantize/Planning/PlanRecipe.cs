using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Planning;

/// <summary>What a tensor becomes by a recipe.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Target">What it becomes; see <see cref="TensorTarget.Find"/>.</param>
/// <param name="Method">How, with all settings; null where it stays as it is.</param>
/// <param name="Bytes">Its bytes in the new file.</param>
/// <param name="Loss">What it was estimated to cost, nats a token; null where that is not known.</param>
/// <param name="Factors">Where sensitivities were measured, what the terms of its cost were multiplied by (<see cref="CostStore.Factors"/>); else null.</param>
public sealed record PlanRecipeTensor(string Name, string Target, string? Method, long Bytes, double? Loss, double[]? Factors = null);

/// <summary>
/// Everything that a mixed file follows from: the model and the text by their hashes, how costs were measured, and each tensor's target and method. On the same kind of processor it makes the same bytes, which
/// <see cref="FileHash"/> tells.
/// </summary>
public sealed record PlanRecipe
{
    /// <summary>The version of recipes that is written and read.</summary>
    public const int CurrentVersion = 2;

    private const string VersionKey = "nibble_plan";

    /// <summary>The version.</summary>
    [JsonPropertyName(VersionKey)]
    public required int Version { get; init; }

    /// <summary>The version of Nibble that wrote it.</summary>
    public required string Program { get; init; }

    /// <summary>The model: <see cref="CostSurvey.ModelHash"/>.</summary>
    public required string ModelHash { get; init; }

    /// <summary>The calibration text: <see cref="CostSurvey.TextHash"/>.</summary>
    public required string TextHash { get; init; }

    /// <summary>Ids of a chunk of the text.</summary>
    public required int ChunkTokens { get; init; }

    /// <summary>Chunks at most, spread over the text; 0 for all.</summary>
    public required int MaxChunks { get; init; }

    /// <summary>Seed of the random signs at the logits.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Groups of rows at most that a weight has a Hessian for each.</summary>
    public required int RowGroups { get; init; }

    /// <summary>Chunks that sensitivities were measured on (<see cref="SensitivitySurvey"/>); null where they were estimated by gradients.</summary>
    public int? MeasuredChunks { get; init; }

    /// <summary>Of how many positions one was measured; null where sensitivities were estimated.</summary>
    public int? MeasuredStride { get; init; }

    /// <summary>What was asked for, for people.</summary>
    public required string Budget { get; init; }

    /// <summary>The estimated KL divergence of the file from the model, nats a token.</summary>
    public required double Loss { get; init; }

    /// <summary>Bytes of the file.</summary>
    public required long FileBytes { get; init; }

    /// <summary>The SHA-256 of the file; null before it was made.</summary>
    public string? FileHash { get; init; }

    /// <summary>Every tensor, in the order of the file.</summary>
    public required ImmutableArray<PlanRecipeTensor> Tensors { get; init; }

    /// <summary>How gradients are made.</summary>
    [JsonIgnore]
    public GradientOptions Gradients => new() { Seed = Seed, RowGroups = RowGroups };

    /// <summary>How sensitivities were measured; null where they were estimated.</summary>
    [JsonIgnore]
    public SensitivityOptions? Sensitivities => MeasuredChunks is { } chunks && MeasuredStride is { } stride ? new SensitivityOptions { Chunks = chunks, Stride = stride } : null;

    /// <summary>Whether a text is such a recipe, of whatever version.</summary>
    /// <param name="json">The text.</param>
    public static bool IsOne(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return document.RootElement.ValueKind == JsonValueKind.Object && document.RootElement.TryGetProperty(VersionKey, out _);
        }
        catch (Exception error) when (error is JsonException or InvalidOperationException)
        {
            // A name that is half a surrogate pair is no JSON either, and found out when it is compared.
            return false;
        }
    }

    /// <summary>Reads a recipe.</summary>
    /// <param name="json">The text.</param>
    /// <exception cref="FormatException">It is none that this version reads; the message says where and why.</exception>
    public static PlanRecipe Parse(string json)
    {
        try
        {
            PlanRecipe recipe = JsonSerializer.Deserialize(json, PlanningJson.Indented.PlanRecipe) ?? throw new FormatException("it is null.");
            if (recipe.Version != CurrentVersion) throw new FormatException($"it is of version {recipe.Version}; {CurrentVersion} is read.");
            if (recipe.Tensors.IsDefaultOrEmpty) throw new FormatException("it names no tensor (tensors).");
            HashSet<string> names = new(StringComparer.Ordinal);
            for (int i = 0; i < recipe.Tensors.Length; i++)
            {
                if (recipe.Tensors[i] is not { Name.Length: > 0, Target.Length: > 0 } tensor) throw new FormatException($"tensors[{i}] has no name, or no target.");
                if (!names.Add(tensor.Name)) throw new FormatException($"tensors[{i}] names '{tensor.Name}' again.");
            }

            if (recipe.ChunkTokens < 4) throw new FormatException($"chunk_tokens is {recipe.ChunkTokens}; it must be 4 or more.");
            if (recipe.MaxChunks < 0) throw new FormatException($"max_chunks is {recipe.MaxChunks}; it must be 0 or more.");
            if (recipe.RowGroups < 1) throw new FormatException($"row_groups is {recipe.RowGroups}; it must be 1 or more.");
            if (recipe.MeasuredChunks is < 1 || recipe.MeasuredStride is < 1 || recipe.MeasuredChunks is null != recipe.MeasuredStride is null)
                throw new FormatException($"measured_chunks is {recipe.MeasuredChunks}, measured_stride {recipe.MeasuredStride}; both must be 1 or more, or neither there.");
            return recipe;
        }
        catch (JsonException error)
        {
            throw new FormatException(error.Message);
        }
    }

    /// <summary>The recipe as JSON.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, PlanningJson.Indented.PlanRecipe) + "\n";

    /// <summary>The plan that the recipe describes.</summary>
    /// <param name="file">The model that it was made for.</param>
    /// <param name="costs">What errors cost; complete before a tensor is made.</param>
    /// <param name="threads">Threads; 0 for those of <see cref="Work.Threads"/>.</param>
    /// <exception cref="QuantizationException">The recipe is not for the tensors of this model, or names what is not known.</exception>
    public QuantizationPlan Plan(GgufFile file, CostStore costs, int threads)
    {
        ArgumentNullException.ThrowIfNull(file);
        List<PlannedTensor> planned = [];
        Dictionary<string, RoundingMethod> methods = new(StringComparer.Ordinal);
        foreach (PlanRecipeTensor tensor in Tensors)
        {
            IWeightSource source = file.Weights.Find(tensor.Name) ?? throw new QuantizationException($"the recipe names tensor '{tensor.Name}', which the model does not have.");
            TensorTarget target = TensorTarget.Find(tensor.Target) ?? throw new QuantizationException($"tensor '{tensor.Name}' of the recipe is to become '{tensor.Target}', which is not known.");
            PlannedTensor made = new(source, target, Method(tensor, costs, threads, methods));
            if (made.IsKept != tensor.Method is null) throw new QuantizationException($"tensor '{tensor.Name}' of the recipe is to become {target} {(tensor.Method is null ? "by no method" : $"by {tensor.Method}")}; it is {source.Format}.");
            if (!made.IsKept && !made.Method.Supports(target)) throw new QuantizationException($"tensor '{tensor.Name}' of the recipe is to become {target}, which {made.Method} does not make.");
            if (made.SeeksOutliers || target is EncodingTarget { InputRange: not null }) throw new QuantizationException($"tensor '{tensor.Name}' of the recipe is to become {target}, which follows from activations in a way that a plan does not look at them.");
            planned.Add(made);
        }

        if (file.Weights.All.FirstOrDefault(tensor => Tensors.All(one => one.Name != tensor.Name)) is { } missing)
            throw new QuantizationException($"the recipe does not say what becomes of tensor '{missing.Name}'.");
        return QuantizationPlan.Of(null, planned);
    }

    // One for all tensors of a name, since it keeps the factors of the last one.
    private static RoundingMethod Method(PlanRecipeTensor tensor, CostStore costs, int threads, Dictionary<string, RoundingMethod> methods)
    {
        if (tensor.Method is null) return new RoundToNearest();
        if (methods.TryGetValue(tensor.Method, out RoundingMethod? known)) return known;
        if (CostRounding.Find(tensor.Method) is { } gptq) return methods[tensor.Method] = new CostRounding(new GptqRounding { IsSorted = gptq.IsSorted, Damp = gptq.Damp, RefineRounds = gptq.RefineRounds, Threads = threads }, costs);
        return RoundingMethods.Find(tensor.Method) is { Needs: null } method
            ? method
            : throw new QuantizationException($"tensor '{tensor.Name}' of the recipe is to be rounded by '{tensor.Method}', which is not known.");
    }
}
