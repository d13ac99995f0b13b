using System.Collections.Immutable;
using System.Text.RegularExpressions;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Evaluation;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Planning;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Planning;

/// <summary>From a model and ids to a file within its budget, and to the same file again by its recipe.</summary>
public sealed class MixPlannerTests : IDisposable
{
    private static readonly List<int[]> Chunks = [Specimen.Prompt, [.. Specimen.Prompt.Reverse()], Specimen.Prompt[13..71]];
    private static readonly GptqRounding Gptq = new() { IsSorted = true, RefineRounds = 2 };

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("llama.yarn")] // an output matrix of its own
    [InlineData("qwen3")] // one matrix for embedding and output
    public void Files_are_within_their_budget_and_come_again_by_their_recipe(string name)
    {
        using GgufFile file = Write(name);
        CostStore costs = Survey(file);
        MixPlanner planner = new(file, costs, Gptq, []);
        ImmutableArray<MixTensor> tensors = planner.Measure(null, TestContext.Current.CancellationToken);
        Assert.Equal(file.Tensors.Where(tensor => tensor.Rows > 1).Select(tensor => tensor.Name).Order(), tensors.Select(tensor => tensor.Name).Order());
        Assert.All(tensors, tensor => Assert.True(tensor.Candidates[^1].Loss < tensor.Candidates[0].Loss / 20, tensor.Name));
        Assert.Contains(costs.Identity, planner.Method.Identity, StringComparison.Ordinal);
        ImmutableArray<Mix> curve = MixSolver.Curve(tensors);
        long smallest = planner.FileBytes(tensors, curve[0]), largest = planner.FileBytes(tensors, curve[^1]);
        string[] hashes = [.. new[] { smallest, smallest + 1, (smallest + largest) / 2, largest }.Select(bytes =>
        {
            Mix mix = planner.Solve(tensors, new SizeBudget(bytes, null));
            QuantizationPlan plan = planner.Plan(tensors, mix);
            string path = _folder.File($"{bytes}.gguf");
            QuantizationResult result = new ModelQuantizer(file, plan, null, null).Write(path, null, TestContext.Current.CancellationToken);
            Assert.Equal(result.FileBytes, new FileInfo(path).Length);
            Assert.Equal(planner.FileBytes(tensors, mix), result.FileBytes);
            Assert.True(result.FileBytes <= bytes);
            PlanRecipe recipe = PlanRecipe.Parse(RecipeOf(plan, mix, result).ToJson());
            string again = _folder.File($"{bytes}.again.gguf");
            // Another store, whose costs are measured again.
            CostStore other = Survey(file, "again");
            new ModelQuantizer(file, recipe.Plan(file, other, threads: 1), null, null).Write(again, null, TestContext.Current.CancellationToken);
            Assert.Equal(File.ReadAllBytes(path), File.ReadAllBytes(again));
            return Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(path)));
        })];
        Assert.Equal(3, hashes.Distinct().Count());

        Mix bits = planner.Solve(tensors, SizeBudget.OfBits(6));
        Assert.InRange(planner.Plan(tensors, bits).BitsPerWeight, 5.9, 6.0);
        string message = Assert.Throws<QuantizationException>(() => planner.Solve(tensors, new SizeBudget(smallest - 1, null))).Message;
        Assert.Contains($"{smallest}.", message, StringComparison.Ordinal);
        Assert.Contains("bits a weight", Assert.Throws<QuantizationException>(() => planner.Solve(tensors, SizeBudget.OfBits(2))).Message, StringComparison.Ordinal);
    }

    // Two hundred tokens do not tell Hessians well, and GPTQ makes use of what they lack: the estimate is a little low. Gemma and granite are nearly sure of their next tokens, where random signs tell most.
    [Theory]
    [InlineData("llama", 0.45)]
    [InlineData("llama.yarn", 0.45)]
    [InlineData("qwen2", 0.4)]
    [InlineData("qwen2.untied", 0.45)]
    [InlineData("qwen3", 0.45)]
    [InlineData("smollm3", 0.45)]
    [InlineData("granite", 0.55)]
    [InlineData("gemma2", 0.7)]
    [InlineData("gemma3", 0.7)]
    [InlineData("gemma3.pattern", 0.7)]
    public void The_estimated_loss_is_near_the_divergence_that_is_measured(string name, double least)
    {
        using GgufFile file = Write(name);
        CostStore costs = Survey(file);
        MixPlanner planner = new(file, costs, Gptq, []);
        ImmutableArray<MixTensor> tensors = planner.Measure(null, TestContext.Current.CancellationToken);
        Mix mix = planner.Solve(tensors, SizeBudget.OfBits(7.5));
        string path = _folder.File("out.gguf");
        new ModelQuantizer(file, planner.Plan(tensors, mix), null, null).Write(path, null, TestContext.Current.CancellationToken);
        double kl = 0;
        using LanguageModel original = Load(file.Path), quantized = Load(path);
        foreach (int[] chunk in Chunks)
        {
            List<float[]> expected = Logits(original, chunk), found = Logits(quantized, chunk);
            kl += expected.Zip(found, (a, b) => LogitComparison.Of(a, b, 0).Kl).Sum();
        }

        Assert.InRange(mix.Loss / (kl / Chunks.Sum(chunk => chunk.Length)), least, 1.4);
    }

    [Fact]
    public void What_was_measured_is_not_measured_again_and_named_tensors_are_not_chosen()
    {
        using GgufFile file = Write("llama");
        CostStore costs = Survey(file);
        ImmutableArray<MixTensor> first = new MixPlanner(file, costs, Gptq, []).Measure(null, TestContext.Current.CancellationToken);
        // A store of losses alone is enough for a second run.
        foreach (string path in Directory.GetFiles(_folder.Root, "blk*.gguf", SearchOption.AllDirectories)) File.WriteAllBytes(path, []);
        ImmutableArray<MixTensor> second = new MixPlanner(file, Store(file), Gptq, []).Measure(null, TestContext.Current.CancellationToken);
        Assert.Equal(first.SelectMany(tensor => tensor.Candidates), second.SelectMany(tensor => tensor.Candidates));
        MixPlanner named = new(file, Store(file), Gptq, [(new Regex("ffn_down"), BlockFormats.F16)]);
        ImmutableArray<MixTensor> fewer = named.Measure(null, TestContext.Current.CancellationToken);
        Assert.DoesNotContain(fewer, tensor => tensor.Name.Contains("ffn_down", StringComparison.Ordinal));
        Assert.All(named.Plan(fewer, MixSolver.Curve(fewer)[0]).Tensors.Where(tensor => tensor.Source.Name.EndsWith("ffn_down.weight", StringComparison.Ordinal)), tensor => Assert.Equal("F16", tensor.Target.Name));
        Assert.Contains("'nothing'", Assert.Throws<QuantizationException>(() => new MixPlanner(file, costs, Gptq, [(new Regex("nothing"), BlockFormats.F16)])).Message, StringComparison.Ordinal);
        Assert.Contains("no tensor left", Assert.Throws<QuantizationException>(() => new MixPlanner(file, costs, Gptq, [(new Regex("."), BlockFormats.F16)])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Recipes_of_other_models_and_what_is_no_recipe_are_refused()
    {
        using GgufFile file = Write("llama");
        CostStore costs = Survey(file);
        MixPlanner planner = new(file, costs, Gptq, []);
        ImmutableArray<MixTensor> tensors = planner.Measure(null, TestContext.Current.CancellationToken);
        Mix mix = MixSolver.Curve(tensors)[0];
        QuantizationPlan plan = planner.Plan(tensors, mix);
        PlanRecipe recipe = RecipeOf(plan, mix, new QuantizationResult(plan, 0, [], [], 1));
        void Refused(string part, PlanRecipe changed) => Assert.Contains(part, Assert.Throws<QuantizationException>(() => changed.Plan(file, costs, 1)).Message, StringComparison.Ordinal);
        PlanRecipeTensor one = recipe.Tensors.First(tensor => tensor.Method is not null);
        Refused("'nobody'", recipe with { Tensors = recipe.Tensors.Add(one with { Name = "nobody" }) });
        Refused($"'{one.Name}'", recipe with { Tensors = recipe.Tensors.Remove(one) });
        Refused("'Q9'", recipe with { Tensors = recipe.Tensors.Replace(one, one with { Target = "Q9" }) });
        Refused("'magic'", recipe with { Tensors = recipe.Tensors.Replace(one, one with { Method = "magic" }) });
        Refused("by no method", recipe with { Tensors = recipe.Tensors.Replace(one, one with { Method = null }) });
        Assert.Contains("version 3", Assert.Throws<FormatException>(() => PlanRecipe.Parse((recipe with { Version = 3 }).ToJson())).Message, StringComparison.Ordinal);
        Assert.Contains("names no tensor", Assert.Throws<FormatException>(() => PlanRecipe.Parse((recipe with { Tensors = [] }).ToJson())).Message, StringComparison.Ordinal);
        Assert.Contains("chunk_tokens", Assert.Throws<FormatException>(() => PlanRecipe.Parse((recipe with { ChunkTokens = 0 }).ToJson())).Message, StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => PlanRecipe.Parse("{}"));
        PlanRecipeTensor first = recipe.Tensors[0];
        foreach (PlanRecipeTensor damaged in (PlanRecipeTensor[])[null!, first with { Name = null! }, first with { Name = "" }, first with { Target = null! }])
            Assert.Contains("tensors[0] has no name, or no target", Assert.Throws<FormatException>(() => PlanRecipe.Parse((recipe with { Tensors = [damaged, .. recipe.Tensors.Skip(1)] }).ToJson())).Message, StringComparison.Ordinal);
        Assert.Contains($"names '{first.Name}' again", Assert.Throws<FormatException>(() => PlanRecipe.Parse((recipe with { Tensors = [.. recipe.Tensors, first] }).ToJson())).Message, StringComparison.Ordinal);
        Assert.False(PlanRecipe.IsOne("{\"\\ud800\": 1}"));
        Assert.Throws<FormatException>(() => PlanRecipe.Parse("no"));
        Assert.Contains("unknown", Assert.Throws<FormatException>(() => PlanRecipe.Parse(recipe.ToJson().Replace("\"seed\"", "\"unknown\"", StringComparison.Ordinal))).Message, StringComparison.Ordinal);
    }

    private static PlanRecipe RecipeOf(QuantizationPlan plan, Mix mix, QuantizationResult result) => new()
    {
        Version = PlanRecipe.CurrentVersion,
        Program = "test",
        ModelHash = "m",
        TextHash = "t",
        ChunkTokens = 80,
        MaxChunks = 0,
        Seed = 9,
        RowGroups = 4,
        Budget = "b",
        Loss = mix.Loss,
        FileBytes = result.FileBytes,
        Tensors = [.. plan.Tensors.Select(tensor => new PlanRecipeTensor(tensor.Source.Name, tensor.Target.Name, tensor.IsKept ? null : tensor.Method.Name, tensor.ByteLength, null))],
    };

    private static LanguageModel Load(string path) => LanguageModel.Load(GgufFile.Open(path), new ReferenceBackend());

    private static List<float[]> Logits(LanguageModel model, int[] chunk)
    {
        List<float[]> rows = [];
        using Session session = model.NewSession(new SessionOptions { Context = Specimen.Context, KvFormat = BlockFormats.F32 });
        session.Evaluate(chunk, 0, (_, logits) => rows.Add(logits.ToArray()), TestContext.Current.CancellationToken);
        return rows;
    }

    private CostStore Store(GgufFile file, string folder = "costs") =>
        new(_folder.File(folder), CostSurvey.Identity(CostSurvey.ModelHash(file), CostSurvey.TextHash(Chunks), new GradientOptions { Seed = 9 }));

    private CostStore Survey(GgufFile file, string folder = "costs")
    {
        CostStore costs = Store(file, folder);
        using LanguageModel model = Load(file.Path);
        Assert.True(PlainDecoder.TryDescribe(model, Specimen.Context, out PlainDecoder? decoder, out string? refusal), refusal);
        CostSurvey.Run(decoder, file, Chunks, new GradientOptions { Seed = 9 }, costs, null, TestContext.Current.CancellationToken);
        Assert.True(costs.IsComplete);
        return costs;
    }

    private GgufFile Write(string name) => Write(Specimens.All.Single(specimen => specimen.Name == name));

    private GgufFile Write(Specimen specimen)
    {
        string path = _folder.File("model.gguf");
        SpecimenFile.Describe(specimen).Write(path, Specimen.Seed);
        return GgufFile.Open(path);
    }
}
