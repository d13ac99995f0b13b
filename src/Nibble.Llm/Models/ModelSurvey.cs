using Nibble.Core.Compute;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>Looks whether a file can be run, and finds everything that is in the way, not only the first thing.</summary>
public static class ModelSurvey
{
    /// <summary>What keeps a file from being run: an architecture, keys, tensors. Empty where nothing does.</summary>
    /// <param name="file">The open file; it stays open and is its owner's.</param>
    /// <param name="backend">What would compute. One that uses weights in place makes this cost next to nothing.</param>
    public static IReadOnlyList<string> Problems(GgufFile file, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(backend);
        List<string> problems = [];
        SurveyReader? reader = null;
        try
        {
            reader = new SurveyReader(file, backend, problems);
            Architectures.Build(file, reader);
            problems.AddRange(reader.UnusedTensors().Select(reader.Unused));
        }
        catch (GgufException error)
        {
            problems.Add(error.Reason);
        }
        finally
        {
            foreach (Weight weight in reader?.Weights ?? [])
                weight.Dispose();
        }

        return problems;
    }

    /// <summary>A reader that notes a tensor that is missing or does not fit, and goes on with zeros in its place.</summary>
    private sealed class SurveyReader(GgufFile file, Backend backend, List<string> problems) : ModelReader(file, backend, null)
    {
        protected override IWeightSource Take(string name, Operation operation, int columns, int rows, int matrices)
        {
            try
            {
                return base.Take(name, operation, columns, rows, matrices);
            }
            catch (GgufException error)
            {
                // A tensor may be looked at before it is taken.
                if (!problems.Contains(error.Reason)) problems.Add(error.Reason);
                return new Zeros(name, columns, rows, matrices);
            }
        }
    }
}
