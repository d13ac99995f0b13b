using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Evaluation;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Planning;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Planning;

/// <summary>Sensitivities that are measured, against files in which one tensor is changed.</summary>
public sealed class SensitivitySurveyTests : IDisposable
{
    private static readonly List<int[]> Chunks = [Specimen.Prompt, [.. Specimen.Prompt.Reverse()], Specimen.Prompt[13..71]];
    private static readonly GptqRounding Gptq = new() { IsSorted = true, RefineRounds = 1 };
    private static readonly SensitivityOptions Everywhere = new() { Chunks = 3, Stride = 1 };

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("phi3", "blk.1.attn_qkv.weight", "blk.4.ffn_up.weight")] // matrices of several in one
    [InlineData("stablelm", "blk.0.attn_v.weight", "output.weight")] // another norm
    [InlineData("llama.moe", "blk.2.ffn_down_exps.weight", "blk.5.ffn_up_exps.weight")] // experts
    [InlineData("qwen3.scaled", "blk.1.ffn_gate.weight", "output.weight")] // matrices with scales beside them
    [InlineData("gemma3", "blk.3.attn_k.weight", "token_embd.weight")] // a plain decoder, and one matrix for embedding and output
    public void A_tensor_costs_what_a_file_shows_in_which_it_alone_is_changed(string name, params string[] tensors)
    {
        using GgufFile file = Write(name);
        CostStore costs = Survey(file, Everywhere);
        MixPlanner planner = new(file, costs, Gptq, []);
        ImmutableArray<MixTensor> measured = planner.Measure(null, TestContext.Current.CancellationToken);
        using LanguageModel original = Load(file.Path);
        foreach (string tensor in tensors)
        {
            MixTensor one = measured.Single(candidate => candidate.Name == tensor);
            // Four bits, which were measured, and eight, which are scaled from there.
            foreach (MixCandidate candidate in (ReadOnlySpan<MixCandidate>)[one.Candidates.Single(candidate => candidate.Name == "IQ4_NL"), one.Candidates.Single(candidate => candidate.Name == "Q5_1")])
            {
                double kl = Divergence(file, original, tensor, candidate.Name, planner.Method);
                if (candidate.Name == "IQ4_NL" && tensor != "token_embd.weight") Assert.Equal(kl, candidate.Loss, 0.02 * kl);
                else Assert.InRange(candidate.Loss / kl, 0.4, 2.5);
            }
        }
    }

    [Fact]
    public void A_stopped_survey_goes_on_and_known_factors_give_the_same_costs_without_measuring()
    {
        using GgufFile file = Write("llama.moe");
        SensitivityOptions options = new() { Chunks = 1 };
        CostStore whole = Survey(file, options);
        string[] names = [.. file.Weights.All.Select(tensor => tensor.Name).Where(whole.Has)];
        Assert.Contains("blk.0.ffn_down_exps.weight", names);
        Assert.DoesNotContain("blk.0.ffn_gate_inp.weight", names);
        Assert.All(names, tensor => Assert.True(whole.Factors(tensor)!.All(factor => factor > 0), tensor));

        using CancellationTokenSource stop = new();
        int reports = 0;
        Assert.ThrowsAny<OperationCanceledException>(() => Survey(file, options, "other", null, new Telling(value =>
        {
            if (value.What.StartsWith("blk.2", StringComparison.Ordinal)) stop.Cancel();
        }), stop.Token));
        CostStore resumed = Survey(file, options, "other", null, new Telling(value => reports += value.What.StartsWith("what", StringComparison.Ordinal) ? 1 : 0), default);
        // What layers read was known already.
        Assert.Equal(0, reports);
        CostStore known = Survey(file, options, "known", names.ToDictionary(tensor => tensor, tensor => whole.Factors(tensor)!), new Telling(value => Assert.StartsWith("what", value.What, StringComparison.Ordinal)), default);
        foreach (string tensor in names)
        {
            Assert.Equal(whole.Factors(tensor), resumed.Factors(tensor));
            foreach (CostStore other in (ReadOnlySpan<CostStore>)[resumed, known])
            {
                TensorCost expected = whole.Read(tensor), found = other.Read(tensor);
                Assert.Equal(expected.Matrices, found.Matrices);
                for (int i = 0; i < expected.Terms.Length; i++)
                {
                    Assert.Equal(expected.Terms[i].Hessian, found.Terms[i].Hessian);
                    Assert.Equal(expected.Terms[i].RowWeights, found.Terms[i].RowWeights);
                }
            }
        }

        Assert.NotEqual(SensitivitySurvey.Identity("m", "t", options, Gptq), SensitivitySurvey.Identity("m", "t", Everywhere, Gptq));
        Assert.Contains("1 or more", Assert.Throws<ArgumentOutOfRangeException>(() => Survey(file, new SensitivityOptions { Stride = 0 }, "none")).Message, StringComparison.Ordinal);
    }

    private double Divergence(GgufFile file, LanguageModel original, string changed, string format, RoundingMethod method)
    {
        string path = _folder.File("changed.gguf");
        QuantizationPlan plan = QuantizationPlan.Of(null, file.Weights.All.Select(tensor => tensor.Name == changed
            ? new PlannedTensor(tensor, BlockFormats.Find(format)!, method)
            : new PlannedTensor(tensor, tensor.Format, new RoundToNearest())));
        new ModelQuantizer(file, plan, null, null).Write(path, null, TestContext.Current.CancellationToken);
        using LanguageModel model = Load(path);
        double kl = 0;
        foreach (int[] chunk in Chunks)
            kl += Logits(original, chunk).Zip(Logits(model, chunk), (a, b) => LogitComparison.Of(a, b, 0).Kl).Sum();
        return kl / Chunks.Sum(chunk => chunk.Length);
    }

    private static LanguageModel Load(string path) => LanguageModel.Load(GgufFile.Open(path), new ReferenceBackend());

    private static List<float[]> Logits(LanguageModel model, int[] chunk)
    {
        List<float[]> rows = [];
        using Session session = model.NewSession(new SessionOptions { Context = Specimen.Context, KvFormat = BlockFormats.F32 });
        session.Evaluate(chunk, 0, (_, logits) => rows.Add(logits.ToArray()), TestContext.Current.CancellationToken);
        return rows;
    }

    private CostStore Survey(GgufFile file, SensitivityOptions options, string folder = "costs") => Survey(file, options, folder, null, null, TestContext.Current.CancellationToken);

    private CostStore Survey(
        GgufFile file, SensitivityOptions options, string folder, Dictionary<string, double[]>? known, IProgress<SensitivityProgress>? progress, CancellationToken cancellation)
    {
        CostStore costs = new(_folder.File(folder), SensitivitySurvey.Identity("m", "t", options, Gptq));
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(file.Path), new RecordingBackend(new ReferenceBackend()));
        SensitivitySurvey.Run(model, Chunks, options, Gptq, _folder.File(folder), costs, known, progress, cancellation);
        Assert.True(costs.IsComplete);
        Assert.Single(Directory.GetDirectories(_folder.File(folder)));
        return costs;
    }

    private GgufFile Write(string name)
    {
        string path = _folder.File("model.gguf");
        SpecimenFile.Describe(Specimens.All.Single(specimen => specimen.Name == name)).Write(path, Specimen.Seed);
        return GgufFile.Open(path);
    }

    private sealed class Telling(Action<SensitivityProgress> tell) : IProgress<SensitivityProgress>
    {
        public void Report(SensitivityProgress value) => tell(value);
    }
}
