using System.Collections.Immutable;
using FsCheck;
using FsCheck.Fluent;
using Nibble.Quantize.Planning;

namespace Nibble.Quantize.Tests.Planning;

/// <summary>The solver against its promises on random tensors, and against all mixes there are where they can be counted.</summary>
public class MixSolverTests
{
    private static readonly string[] Formats = ["a", "b", "c", "d", "e"];

    [Fact]
    public void A_budget_is_never_exceeded_and_no_uniform_mix_within_it_is_better()
    {
        ForMixes(4, 40, (tensors, budget) =>
        {
            Mix? mix = MixSolver.Solve(tensors, budget);
            long least = tensors.Sum(tensor => tensor.Candidates.Min(candidate => candidate.Bytes));
            Assert.Equal(budget < least, mix is null);
            if (mix is null) return;
            Assert.True(mix.Bytes <= budget);
            Assert.Equal(tensors.Select((tensor, i) => tensor.Candidates[mix.Choices[i]].Bytes).Sum(), mix.Bytes);
            Assert.Equal(tensors.Select((tensor, i) => tensor.Candidates[mix.Choices[i]].Loss).Sum(), mix.Loss, 1e-9);
            foreach (string format in Formats)
                if (MixSolver.UniformMix(tensors, format) is { } uniform && uniform.Bytes <= budget) Assert.True(mix.Loss <= uniform.Loss + 1e-9);
        });
    }

    [Fact]
    public void Few_tensors_get_a_mix_that_is_within_two_percent_of_the_best_of_all_on_average()
    {
        double ours = 0, best = 0;
        ForMixes(1, 5, (tensors, budget) =>
        {
            if (MixSolver.Solve(tensors, budget) is not { } mix) return;
            double least = double.PositiveInfinity;
            foreach (int[] choices in All(tensors, 0))
            {
                long bytes = choices.Select((choice, i) => tensors[i].Candidates[choice].Bytes).Sum();
                if (bytes <= budget) least = Math.Min(least, choices.Select((choice, i) => tensors[i].Candidates[choice].Loss).Sum());
            }

            Assert.True(mix.Loss >= least - 1e-9);
            ours += mix.Loss;
            best += least;
        });
        Assert.True(ours < 1.02 * best, $"{ours} against {best}");
    }

    [Fact]
    public void Mixes_on_the_curve_are_the_best_of_their_size()
    {
        ForMixes(1, 5, (tensors, _) =>
        {
            ImmutableArray<Mix> curve = MixSolver.Curve(tensors);
            Assert.Equal(tensors.Sum(tensor => tensor.Candidates.Min(candidate => candidate.Bytes)), curve[0].Bytes);
            Assert.Equal(tensors.Sum(tensor => tensor.Candidates.Min(candidate => candidate.Loss)), curve[^1].Loss, 1e-9);
            for (int i = 1; i < curve.Length; i++)
            {
                Assert.True(curve[i].Bytes > curve[i - 1].Bytes);
                Assert.True(curve[i].Loss < curve[i - 1].Loss);
            }

            foreach (int[] choices in All(tensors, 0))
            {
                long bytes = choices.Select((choice, i) => tensors[i].Candidates[choice].Bytes).Sum();
                double loss = choices.Select((choice, i) => tensors[i].Candidates[choice].Loss).Sum();
                foreach (Mix mix in curve)
                    Assert.False(bytes <= mix.Bytes && loss < mix.Loss - 1e-9, $"{bytes} bytes, {loss} is better than {mix.Bytes} bytes, {mix.Loss}");
            }
        });
    }

    [Fact]
    public void What_is_left_of_a_budget_is_used_by_an_exchange()
    {
        // After a takes its step there are 10 bytes left, of which nothing can be made but by giving that step up for b's.
        MixTensor[] tensors =
        [
            new("a", [new("small", 10, 5), new("large", 20, 1)]),
            new("b", [new("small", 10, 7), new("large", 30, 0.5)]),
        ];
        Mix mix = MixSolver.Solve(tensors, 40)!;
        Assert.Equal([0, 1], mix.Choices);
        Assert.Equal(5.5, mix.Loss);
        Assert.Equal([1, 1], MixSolver.Solve(tensors, 50)!.Choices);
        Assert.Equal([1, 0], MixSolver.Solve(tensors, 39)!.Choices);
        Assert.Null(MixSolver.Solve(tensors, 19));
    }

    [Fact]
    public void Tensors_without_candidates_and_losses_that_are_no_numbers_are_refused()
    {
        Assert.Contains("'x'", Assert.Throws<ArgumentException>(() => MixSolver.Solve([new("x", [])], 1)).Message, StringComparison.Ordinal);
        Assert.Contains("finite", Assert.Throws<ArgumentException>(() => MixSolver.Curve([new("x", [new("a", 1, double.NaN)])])).Message, StringComparison.Ordinal);
    }

    private static void ForMixes(int fewest, int most, Action<List<MixTensor>, long> check)
    {
        Gen<MixCandidate[]> candidates = Gen.Choose(0, 2).SelectMany(kind => Gen.Choose(1, 400).Zip(Gen.Choose(0, 1000)).ArrayOf(Formats.Length).Select(values => kind switch
        {
            // Losses that fall with size as those of formats do, and any others.
            0 => values.Select((value, i) => new MixCandidate(Formats[i], 20L * (i + 3) * (value.Item1 % 7 + 1), value.Item2 * Math.Pow(3, -i))).ToArray(),
            1 => [.. values.OrderBy(value => value.Item1).Zip(values.OrderByDescending(value => value.Item2), (a, b) => (a.Item1, b.Item2)).Select((value, i) => new MixCandidate(Formats[i], value.Item1, value.Item2 / 10.0))],
            _ => [.. values.Select((value, i) => new MixCandidate(Formats[i], value.Item1, value.Item2))],
        }));
        Gen<(List<MixTensor> Tensors, long Budget)> mixes = Gen.Choose(fewest, most).SelectMany(count => candidates.ListOf(count)).Zip(Gen.Choose(0, 1000)).Select(drawn =>
        {
            List<MixTensor> tensors = [.. drawn.Item1.Select((one, i) => new MixTensor($"t{i}", [.. one]))];
            long least = tensors.Sum(tensor => tensor.Candidates.Min(candidate => candidate.Bytes)), all = tensors.Sum(tensor => tensor.Candidates.Max(candidate => candidate.Bytes));
            return (tensors, least + ((all - least) * (drawn.Item2 - 50) / 900));
        });
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(150).WithReplay(7, 11), Prop.ForAll(mixes.ToArbitrary(), drawn => check(drawn.Tensors, drawn.Budget)));
    }

    private static IEnumerable<int[]> All(List<MixTensor> tensors, int first)
    {
        if (first == tensors.Count) return [new int[tensors.Count]];
        return from rest in All(tensors, first + 1)
               from choice in Enumerable.Range(0, tensors[first].Candidates.Length)
               select rest.Select((value, i) => i == first ? choice : value).ToArray();
    }
}
