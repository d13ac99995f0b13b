using System.Collections.Immutable;

namespace Nibble.Quantize.Planning;

/// <summary>One of the things that a tensor can become.</summary>
/// <param name="Name">What, by which the candidates of several tensors are the same.</param>
/// <param name="Bytes">What it takes in the file.</param>
/// <param name="Loss">What it costs; losses of tensors add up.</param>
public readonly record struct MixCandidate(string Name, long Bytes, double Loss);

/// <summary>A tensor that something is chosen for.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Candidates">One at least.</param>
public sealed record MixTensor(string Name, ImmutableArray<MixCandidate> Candidates);

/// <summary>A choice for every tensor.</summary>
/// <param name="Choices">The candidate of each tensor, by its place.</param>
/// <param name="Bytes">What they take together.</param>
/// <param name="Loss">What they cost together.</param>
public sealed record Mix(ImmutableArray<int> Choices, long Bytes, double Loss);

/// <summary>
/// Chooses a candidate for each tensor, so that together they take no more than a budget and cost as little as can be found: the steps along the lower convex hull of each tensor's candidates, by loss saved a byte
/// (what Lagrange multipliers give), then single steps and exchanges of pairs that use what is left of the budget.
/// </summary>
/// <remarks>
/// Everett, Generalized Lagrange multiplier method for solving problems of optimum allocation of resources, 1963. A mix on the curve is the best one of its size; between two, what is lost is at most one step's loss.
/// </remarks>
public static class MixSolver
{
    // Rounds of exchanges; each lowers the loss, and few are ever needed.
    private const int MaxExchanges = 200;

    /// <summary>The best mix found for a budget.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="budget">Bytes at most.</param>
    /// <returns>Null where even the smallest candidates take more.</returns>
    /// <exception cref="ArgumentException">A tensor has no candidates, or one has negative bytes or a loss that is no finite number.</exception>
    public static Mix? Solve(IReadOnlyList<MixTensor> tensors, long budget)
    {
        Check(tensors);
        int[] choices = Smallest(tensors);
        if (Sum(tensors, choices).Bytes > budget) return null;
        Mix best = Improve(tensors, Climb(tensors, choices, budget), budget);
        // One thing for all is where the search starts, too, so that it never ends above that.
        foreach (string name in tensors.SelectMany(tensor => tensor.Candidates.Select(candidate => candidate.Name)).Distinct())
        {
            int[]? uniform = Uniform(tensors, name);
            if (uniform is null || Sum(tensors, uniform).Bytes > budget) continue;
            Mix mix = Improve(tensors, uniform, budget);
            if (mix.Loss < best.Loss) best = mix;
        }

        return best;
    }

    /// <summary>The mixes on the lower convex hull of size and loss, from the smallest to the best.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <exception cref="ArgumentException">See <see cref="Solve"/>.</exception>
    public static ImmutableArray<Mix> Curve(IReadOnlyList<MixTensor> tensors)
    {
        Check(tensors);
        int[] choices = Smallest(tensors);
        (long bytes, double loss) = Sum(tensors, choices);
        List<Mix> curve = [new Mix([.. choices], bytes, loss)];
        foreach (Step step in Steps(tensors, choices))
        {
            MixCandidate from = tensors[step.Tensor].Candidates[choices[step.Tensor]], to = tensors[step.Tensor].Candidates[step.Choice];
            choices[step.Tensor] = step.Choice;
            bytes += to.Bytes - from.Bytes;
            loss += to.Loss - from.Loss;
            curve.Add(new Mix([.. choices], bytes, loss));
        }

        return [.. curve];
    }

    /// <summary>The mix in which every tensor becomes the same, or null where one cannot.</summary>
    /// <param name="tensors">The tensors.</param>
    /// <param name="name">The candidates' name.</param>
    public static Mix? UniformMix(IReadOnlyList<MixTensor> tensors, string name)
    {
        Check(tensors);
        return Uniform(tensors, name) is { } choices ? Of(tensors, choices) : null;
    }

    private static void Check(IReadOnlyList<MixTensor> tensors)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        foreach (MixTensor tensor in tensors)
        {
            if (tensor.Candidates.IsDefaultOrEmpty) throw new ArgumentException($"tensor '{tensor.Name}' has no candidates.", nameof(tensors));
            foreach (MixCandidate candidate in tensor.Candidates)
                if (candidate.Bytes < 0 || !double.IsFinite(candidate.Loss))
                    throw new ArgumentException($"tensor '{tensor.Name}' as {candidate.Name} takes {candidate.Bytes} bytes and costs {candidate.Loss}; bytes must not be negative, and the loss must be finite.", nameof(tensors));
        }
    }

    private static int[] Smallest(IReadOnlyList<MixTensor> tensors) =>
        [.. tensors.Select(tensor => Enumerable.Range(0, tensor.Candidates.Length).MinBy(i => (tensor.Candidates[i].Bytes, tensor.Candidates[i].Loss)))];

    private static int[]? Uniform(IReadOnlyList<MixTensor> tensors, string name)
    {
        int[] choices = new int[tensors.Count];
        for (int i = 0; i < choices.Length; i++)
        {
            choices[i] = tensors[i].Candidates.Select(candidate => candidate.Name).ToList().IndexOf(name);
            if (choices[i] < 0) return null;
        }

        return choices;
    }

    private static (long Bytes, double Loss) Sum(IReadOnlyList<MixTensor> tensors, int[] choices)
    {
        long bytes = 0;
        double loss = 0;
        for (int i = 0; i < choices.Length; i++)
        {
            bytes = checked(bytes + tensors[i].Candidates[choices[i]].Bytes);
            loss += tensors[i].Candidates[choices[i]].Loss;
        }

        return (bytes, loss);
    }

    private static Mix Of(IReadOnlyList<MixTensor> tensors, int[] choices)
    {
        (long bytes, double loss) = Sum(tensors, choices);
        return new Mix([.. choices], bytes, loss);
    }

    // The steps of all tensors along their hulls, from the one that saves most a byte on; a tensor's own come in their order, since a hull grows flatter.
    private static IEnumerable<Step> Steps(IReadOnlyList<MixTensor> tensors, int[] smallest)
    {
        List<Step> steps = [];
        for (int t = 0; t < tensors.Count; t++)
        {
            ImmutableArray<MixCandidate> candidates = tensors[t].Candidates;
            for (int at = smallest[t]; ;)
            {
                int next = -1;
                double rate = 0;
                for (int i = 0; i < candidates.Length; i++)
                {
                    long bytes = candidates[i].Bytes - candidates[at].Bytes;
                    double gain = candidates[at].Loss - candidates[i].Loss;
                    if (bytes <= 0 || gain <= 0) continue;
                    // Of equal rates the longest step.
                    if (gain / bytes < rate || (gain / bytes == rate && next >= 0 && candidates[next].Bytes >= candidates[i].Bytes)) continue;
                    (next, rate) = (i, gain / bytes);
                }

                if (next < 0) break;
                steps.Add(new Step(t, next, rate));
                at = next;
            }
        }

        return steps.Select((step, order) => (step, order)).OrderByDescending(one => one.step.Rate).ThenBy(one => one.order).Select(one => one.step);
    }

    private static int[] Climb(IReadOnlyList<MixTensor> tensors, int[] choices, long budget)
    {
        int[] climbed = [.. choices];
        long bytes = Sum(tensors, climbed).Bytes;
        bool[] isStopped = new bool[tensors.Count];
        foreach (Step step in Steps(tensors, choices))
        {
            // A tensor whose next step does not fit takes none behind it; others may.
            if (isStopped[step.Tensor]) continue;
            long more = tensors[step.Tensor].Candidates[step.Choice].Bytes - tensors[step.Tensor].Candidates[climbed[step.Tensor]].Bytes;
            if (bytes + more > budget)
            {
                isStopped[step.Tensor] = true;
                continue;
            }

            climbed[step.Tensor] = step.Choice;
            bytes += more;
        }

        return climbed;
    }

    // Single changes while one helps, then exchanges: one tensor gives bytes up, another uses them.
    private static Mix Improve(IReadOnlyList<MixTensor> tensors, int[] start, long budget)
    {
        int[] choices = [.. start];
        for (int exchange = 0; exchange < MaxExchanges; exchange++)
        {
            long free = budget - Sum(tensors, choices).Bytes;
            if (BestChange(tensors, choices, free) is { } change) choices[change.Tensor] = change.Choice;
            else if (BestExchange(tensors, choices, free) is not { } pair) break;
            else (choices[pair.First.Tensor], choices[pair.Second.Tensor]) = (pair.First.Choice, pair.Second.Choice);
        }

        return Of(tensors, choices);
    }

    private static Step? BestChange(IReadOnlyList<MixTensor> tensors, int[] choices, long free)
    {
        Step? best = null;
        foreach ((Step step, long bytes, double gain) in Changes(tensors, choices))
            if (bytes <= free && gain > (best?.Rate ?? 0)) best = step;
        return best;
    }

    // Changes sorted by bytes, and of those up to each the best gain of two different tensors: then every change finds its partner by a search.
    private static (Step First, Step Second)? BestExchange(IReadOnlyList<MixTensor> tensors, int[] choices, long free)
    {
        (Step Step, long Bytes, double Gain)[] changes = [.. Changes(tensors, choices).OrderBy(change => change.Bytes)];
        (int First, int Second)[] best = new (int, int)[changes.Length];
        for (int i = 0; i < changes.Length; i++)
        {
            (int first, int second) = i == 0 ? (-1, -1) : best[i - 1];
            if (first < 0 || changes[i].Gain > changes[first].Gain)
            {
                if (first >= 0 && changes[first].Step.Tensor != changes[i].Step.Tensor) second = first;
                first = i;
            }
            else if (changes[i].Step.Tensor != changes[first].Step.Tensor && (second < 0 || changes[i].Gain > changes[second].Gain))
            {
                second = i;
            }

            best[i] = (first, second);
        }

        double most = 0;
        (Step, Step)? found = null;
        long[] sizes = [.. changes.Select(change => change.Bytes)];
        for (int i = 0; i < changes.Length; i++)
        {
            int end = UpperBound(sizes, free - changes[i].Bytes);
            if (end == 0) continue;
            (int first, int second) = best[end - 1];
            int partner = changes[first].Step.Tensor != changes[i].Step.Tensor ? first : second;
            if (partner < 0) continue;
            double gain = changes[i].Gain + changes[partner].Gain;
            // What rounding alone would gain is no gain.
            if (gain <= most || gain < 1e-12 * (Math.Abs(changes[i].Gain) + Math.Abs(changes[partner].Gain))) continue;
            (most, found) = (gain, (changes[i].Step, changes[partner].Step));
        }

        return found;
    }

    private static IEnumerable<(Step Step, long Bytes, double Gain)> Changes(IReadOnlyList<MixTensor> tensors, int[] choices)
    {
        for (int t = 0; t < choices.Length; t++)
        {
            ImmutableArray<MixCandidate> candidates = tensors[t].Candidates;
            MixCandidate from = candidates[choices[t]];
            for (int i = 0; i < candidates.Length; i++)
            {
                double gain = from.Loss - candidates[i].Loss;
                if (i != choices[t]) yield return (new Step(t, i, gain), candidates[i].Bytes - from.Bytes, gain);
            }
        }
    }

    private static int UpperBound(long[] sorted, long value)
    {
        int low = 0, high = sorted.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (sorted[middle] <= value) low = middle + 1;
            else high = middle;
        }

        return low;
    }

    private readonly record struct Step(int Tensor, int Choice, double Rate);
}
