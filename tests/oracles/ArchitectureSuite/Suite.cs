using Nibble;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Models;
using Nibble.Llm.Sessions;
using Oracles;

namespace ArchitectureSuite;

/// <summary>What came of a model, from best to worst.</summary>
internal enum Verdict
{
    /// <summary>It ran and gave llama.cpp's answers.</summary>
    Pass,

    /// <summary>Nibble said that it does not run it, and why.</summary>
    Refused,

    /// <summary>It ran, but llama.cpp gave no answer to compare with.</summary>
    NoOracle,

    /// <summary>It ran and gave other answers, or broke off with an error that is not a refusal.</summary>
    Fail,
}

/// <summary>A model on one device.</summary>
/// <param name="Device">The device's name.</param>
/// <param name="Verdict">What came of it.</param>
/// <param name="Reason">Why, where it did not pass.</param>
/// <param name="WorstNmse">The worst normalised mean squared error of all positions, or null where nothing was compared.</param>
/// <param name="WorstPosition">Where that is.</param>
/// <param name="GreedyEqual">Whether greedy decoding gave the same ids.</param>
/// <param name="OtherBuild">The positions at which another build of llama.cpp was the nearest and the only one within the bound, and the NMSE of the plain build there; null where there are none.</param>
internal sealed record DeviceResult(
    string Device, Verdict Verdict, string? Reason = null, double? WorstNmse = null, int? WorstPosition = null, bool? GreedyEqual = null, string? OtherBuild = null);

/// <summary>A model on all devices.</summary>
/// <param name="Name">The file's stem, NAME-dense or NAME-moe.</param>
/// <param name="Architecture">Its <c>general.architecture</c>.</param>
/// <param name="Devices">One by one.</param>
internal sealed record ModelResult(string Name, string Architecture, DeviceResult[] Devices)
{
    /// <summary>The worst of the devices.</summary>
    public Verdict Verdict => Devices.Max(device => device.Verdict);

    /// <summary>Why it did not pass, with the devices' names where they disagree.</summary>
    public string? Reason => Told(device => device.Reason);

    /// <summary>Where another build of llama.cpp's own decided, with the devices' names where they disagree; null where the plain one did everywhere.</summary>
    public string? OtherBuild => Told(device => device.OtherBuild);

    private string? Told(Func<DeviceResult, string?> of)
    {
        DeviceResult[] told = [.. Devices.Where(device => of(device) is not null)];
        return told.Length == 0 ? null
            : told.Length == Devices.Length && told.All(device => of(device) == of(told[0])) ? of(told[0])
            : string.Join("; ", told.Select(device => $"{device.Device}: {of(device)}"));
    }
}

/// <summary>Compares Nibble with llama.cpp, through the API that any program has.</summary>
/// <param name="devices">Names of the devices.</param>
/// <param name="cache">Folder of llama.cpp's answers.</param>
/// <param name="libraries">Folder of llama.cpp's libraries.</param>
internal sealed class Suite(string[] devices, string cache, string libraries)
{
    /// <summary>The worst position's NMSE is below this.</summary>
    public const double Bound = 1e-8;

    /// <summary>Compares one model.</summary>
    public ModelResult Run(string path)
    {
        Answers? answers = null;
        string? silence = null;
        try
        {
            answers = Oracle.Ask(path, cache, libraries, LlamaModel.PlainBuild);
        }
        catch (OracleException error)
        {
            silence = "llama.cpp: " + error.Message;
        }

        return new ModelResult(Path.GetFileNameWithoutExtension(path), Architecture(path), [.. devices.Select(device => Run(path, device, answers, silence))]);
    }

    private DeviceResult Run(string path, string device, Answers? answers, string? silence)
    {
        try
        {
            using Backend backend = Devices.Open(device, new DeviceOptions { IsExact = true });
            using LanguageModel model = LanguageModel.Load(GgufFile.Open(path), backend);
            (float[] logits, int[] greedy) = Ask(model);
            return answers is null ? new DeviceResult(device, Verdict.NoOracle, silence) : Compare(path, device, model.VocabularySize, logits, greedy, answers);
        }
        catch (GgufException error)
        {
            return new DeviceResult(device, Verdict.Refused, error.Reason);
        }
        // A bug is a result too, and the other models are still to be counted.
        catch (Exception error)
        {
            return new DeviceResult(device, Verdict.Fail, $"{error.GetType().Name}: {error.Message}");
        }
    }

    private static (float[] Logits, int[] Greedy) Ask(LanguageModel model)
    {
        SessionOptions options = new() { Context = Prompt.Context, KvFormat = BlockFormats.F32 };
        int vocabulary = model.VocabularySize;
        float[] logits = new float[Prompt.Ids.Length * vocabulary];
        using (Session session = model.NewSession(options))
            session.Evaluate(Prompt.Ids, 0, (position, row) => row.CopyTo(logits.AsSpan(position * vocabulary)));
        int[] greedy = new int[Prompt.GreedyCount];
        using (Session session = model.NewSession(options))
        {
            session.Evaluate(Prompt.GreedyIds);
            greedy[0] = Prompt.Best(session.Logits);
            for (int i = 1; i < greedy.Length; i++)
            {
                session.Evaluate([greedy[i - 1]]);
                greedy[i] = Prompt.Best(session.Logits);
            }
        }

        return (logits, greedy);
    }

    private DeviceResult Compare(string path, string device, int vocabulary, float[] logits, int[] greedy, Answers answers)
    {
        if (logits.Length != answers.Logits.Length)
            return new DeviceResult(device, Verdict.Fail, $"{logits.Length} logits, and llama.cpp has {answers.Logits.Length}");
        double[] nmse = Nmse(vocabulary, logits, answers.Logits);
        string? otherBuild = nmse.All(IsNear) ? null : Nearest(path, vocabulary, logits, nmse);

        // A NaN is worse than every number.
        int at = Enumerable.Range(0, nmse.Length).MaxBy(position => double.IsNaN(nmse[position]) ? double.PositiveInfinity : nmse[position]);
        bool isEqual = greedy.AsSpan().SequenceEqual(answers.Greedy);
        List<string> reasons = [];
        if (!IsNear(nmse[at])) reasons.Add($"NMSE {Report.Number(nmse[at])} at position {at} is not below {Report.Number(Bound)}");
        if (!isEqual) reasons.Add($"greedy id {greedy.AsSpan().CommonPrefixLength(answers.Greedy)} differs");
        return new DeviceResult(device, reasons.Count == 0 ? Verdict.Pass : Verdict.Fail, reasons.Count == 0 ? null : string.Join(", ", reasons), nmse[at], at, isEqual, otherBuild);
    }

    // llama.cpp rounds GELU to half precision, so where two of its builds sum in another order, one value may be a whole step of a half apart: its own answers then differ by more than the bound.
    // Positions that are not within the bound of the plain build are held against the others; what comes nearest counts.
    private string? Nearest(string path, int vocabulary, float[] logits, double[] nmse)
    {
        double[] plain = [.. nmse];
        string[] nearest = new string[nmse.Length];
        foreach (string build in LlamaModel.OtherBuilds)
        {
            try
            {
                double[] other = Nmse(vocabulary, logits, Oracle.Ask(path, cache, libraries, build).Logits);
                for (int position = 0; position < nmse.Length; position++)
                    if (!IsNear(plain[position]) && other[position] < nmse[position]) (nmse[position], nearest[position]) = (other[position], build);
            }
            catch (OracleException)
            {
                // The processor lacks what this build needs.
            }
        }

        string[] told = [.. Enumerable.Range(0, nmse.Length).Where(position => !IsNear(plain[position]) && IsNear(nmse[position]))
            .Select(position => $"position {position} by build {nearest[position]} ({LlamaModel.PlainBuild} {Report.Number(plain[position])})")];
        return told.Length == 0 ? null : string.Join(", ", told);
    }

    private static bool IsNear(double nmse) => nmse < Bound;

    private static double[] Nmse(int vocabulary, float[] ours, float[] theirs) =>
        [.. Enumerable.Range(0, Prompt.Ids.Length).Select(position => Nmse(ours.AsSpan(position * vocabulary, vocabulary), theirs.AsSpan(position * vocabulary, vocabulary)))];

    private static double Nmse(ReadOnlySpan<float> ours, ReadOnlySpan<float> theirs)
    {
        double error = 0, norm = 0;
        for (int i = 0; i < ours.Length; i++)
        {
            error += ((double)ours[i] - theirs[i]) * ((double)ours[i] - theirs[i]);
            norm += (double)theirs[i] * theirs[i];
        }

        return error / norm;
    }

    private static string Architecture(string path)
    {
        try
        {
            using GgufFile file = GgufFile.Open(path);
            return file.Metadata.GetString("general.architecture", "?")!;
        }
        catch (GgufException)
        {
            return "?";
        }
    }
}
