using System.Collections.Immutable;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Nibble.Llm.Tokenizers;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Evaluation;
using Nibble.Quantize.Gradients;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Planning;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Planning;

/// <summary>A file of jargon-6m that was planned, beside llama-quantize's mix of the same size.</summary>
public sealed class PlannedFileTests : IDisposable
{
    private const int ChunkTokens = 256;

    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_planned_file_is_better_than_the_mix_of_its_size_and_about_as_good_as_estimated()
    {
        string path = Fixtures.Shared("models", "jargon-6m-bf16.gguf");
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        using CpuBackend backend = new(new CpuOptions { Exact = true });
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
        Tokenizer tokenizer = Tokenizer.FromMetadata(model.File.Metadata);
        int[] Ids(string text, int count) => tokenizer.Encode(File.ReadAllText(Fixtures.Shared("fixtures", "text", text)), parseSpecial: false, addBosEos: false)[..count];
        IReadOnlyList<int[]> chunks = CalibrationText.Cut(Ids("calibration.txt", 16 * ChunkTokens), ChunkTokens, null).Chunks;
        Assert.True(PlainDecoder.TryDescribe(model, ChunkTokens, out PlainDecoder? decoder, out string? refusal), refusal);
        GradientOptions options = new();
        CostStore costs = new(_folder.File("costs"), CostSurvey.Identity("m", CostSurvey.TextHash(chunks), options));
        CostSurvey.Run(decoder, model.File, chunks, options, costs, null, cancellation);

        QuantizationPlan plain = QuantizationPlan.Create(model.File, new PlanOptions { Type = FileType.Find("Q4_K_M") });
        string plainPath = _folder.File("plain.gguf"), plannedPath = _folder.File("planned.gguf");
        long size = new ModelQuantizer(model.File, plain, null, null).Write(plainPath, null, cancellation).FileBytes;
        MixPlanner planner = new(model.File, costs, new GptqRounding { IsSorted = true }, []);
        ImmutableArray<MixTensor> tensors = planner.Measure(null, cancellation);
        Mix mix = planner.Solve(tensors, new SizeBudget(size, null));
        long plannedSize = new ModelQuantizer(model.File, planner.Plan(tensors, mix), null, null).Write(plannedPath, null, cancellation).FileBytes;
        Assert.InRange(plannedSize, size * 99 / 100, size);

        int[] evaluation = Ids("evaluation.txt", 8 * ChunkTokens);
        double Kl(string other)
        {
            using LanguageModel changed = LanguageModel.Load(GgufFile.Open(other), backend);
            SessionOptions session = new() { Context = ChunkTokens, KvFormat = BlockFormats.F32 };
            using Session before = model.NewSession(session), after = changed.NewSession(session);
            return Divergence.Measure(before, after, evaluation, ChunkTokens, null, null, cancellation).Kl;
        }

        double plainKl = Kl(plainPath), plannedKl = Kl(plannedPath);
        Assert.True(plannedKl < plainKl / 3, $"the planned file has a KL of {plannedKl}, the plain one of {plainKl}.");
        Assert.InRange(mix.Loss / plannedKl, 0.5, 2);
    }
}
