using Nibble.Core.Gguf;
using Nibble.Cpu;
using Nibble.Llm.Models;
using Nibble.Quantize.Calibration;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests;

/// <summary>How many threads loops take.</summary>
public sealed class WorkTests
{
    [Theory]
    [InlineData(1, 0)]
    [InlineData(3, 0)]
    [InlineData(1, 8)]
    [InlineData(8, 1)]
    public void No_more_steps_run_at_a_time_than_there_are_threads(int threads, int asked)
    {
        using IDisposable limit = Work.Limit(threads);
        int most = asked == 0 ? threads : Math.Min(threads, asked);
        ParallelOptions? options = asked == 0 ? null : new ParallelOptions { MaxDegreeOfParallelism = asked };
        int running = 0;
        Work.For(100, options, _ =>
        {
            Assert.InRange(Interlocked.Increment(ref running), 1, most);
            Thread.Sleep(1);
            Interlocked.Decrement(ref running);
        });
        int[] steps = new int[100];
        Work.For(100, options, () => new int[1], (i, own) =>
        {
            Assert.Equal(1, ++own[0]); // which no other step has meanwhile
            Interlocked.Increment(ref steps[i]);
            Thread.Sleep(1);
            own[0]--;
        });
        Assert.All(steps, count => Assert.Equal(1, count));
    }

    [Fact]
    public void Several_threads_are_taken_where_they_are_allowed()
    {
        using IDisposable limit = Work.Limit(2);
        using Barrier both = new(2);
        Work.For(2, _ => Assert.True(both.SignalAndWait(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken)));
    }

    [Fact]
    public void A_limit_is_never_widened_from_within_and_ends_with_its_scope()
    {
        int before = Work.Threads;
        using (Work.Limit(2))
        {
            Assert.Equal(2, Work.Threads);
            using (Work.Limit(0)) Assert.Equal(2, Work.Threads);
            using (Work.Limit(5)) Assert.Equal(2, Work.Threads);
            using (Work.Limit(1)) Assert.Equal(1, Work.Threads);
            Assert.Equal(2, Work.Threads);
        }

        Assert.Equal(before, Work.Threads);
        Assert.Throws<ArgumentOutOfRangeException>(() => Work.Limit(-1));
    }

    [Fact]
    public void A_run_bounds_its_method_and_what_computes_its_statistics()
    {
        using TempFolder folder = new();
        string source = Fixtures.Golden("architectures", "llama-dense.gguf");
        using GgufFile file = GgufFile.Open(source);
        using LanguageModel model = LanguageModel.Load(GgufFile.Open(source), new RecordingBackend(new CpuBackend(new CpuOptions { Exact = true, Threads = 1 })));
        Recorder recorder = new();
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find("int4:g64"), Method = recorder });
        using CalibrationFeed feed = new(model, [[.. Enumerable.Range(3, 40)]], new CalibrationOptions { Kinds = plan.Needs!.Value }, recorder);
        int outside = Work.Threads;
        new ModelQuantizer(file, plan, null, null) { Statistics = feed, Threads = 1 }.Write(folder.File("out.gguf"), null, TestContext.Current.CancellationToken);
        Assert.True(recorder.Rounded > 10);
        Assert.True(recorder.Calibrated > 0);
        Assert.Equal(outside, Work.Threads);
    }

    [Fact]
    public void All_loops_of_the_library_go_through_Work()
    {
        string folder = Path.Combine(Fixtures.Root, "src", "Nibble.Quantize");
        string[] files = [.. Directory.GetFiles(folder, "*.cs", SearchOption.AllDirectories).Where(path => !Path.GetRelativePath(folder, path).StartsWith("obj", StringComparison.Ordinal))];
        Assert.True(files.Length > 50);
        Assert.Equal(["Work.cs"], files.Where(path => File.ReadAllText(path) is var text && (text.Contains("Parallel.", StringComparison.Ordinal) || text.Contains("AsParallel(", StringComparison.Ordinal))).Select(Path.GetFileName));
    }

    // Rounds to nearest, and looks how many threads there are.
    private sealed class Recorder : RoundingMethod, IProgress<CalibrationProgress>
    {
        private readonly RoundToNearest _nearest = new();

        public int Rounded { get; private set; }

        public int Calibrated { get; private set; }

        public override string Name => "recorder";

        public override StatisticKinds? Needs => StatisticKinds.Hessian;

        public override bool Supports(TensorTarget target) => _nearest.Supports(target);

        public override RoundedMatrix Round(RoundingTask task, CancellationToken cancellation)
        {
            Assert.Equal(1, Work.Threads);
            Rounded++;
            return _nearest.Round(task, cancellation);
        }

        public void Report(CalibrationProgress value)
        {
            Assert.Equal(1, Work.Threads);
            Calibrated++;
        }
    }
}
