using Nibble.Gpu.Drivers;

namespace Nibble.Gpu;

/// <summary>What faster kernels need beyond OpenCL C 1.2. Without any of it a device runs tier 0, the kernels that every device runs.</summary>
[Flags]
public enum GpuFeatures
{
    /// <summary>Tier 0.</summary>
    None = 0,

    /// <summary>Sub-groups: items that sum, and compare, without local memory.</summary>
    SubGroups = 1,

    /// <summary>Products of 4 signed bytes with 4 others in one operation (<c>cl_khr_integer_dot_product</c>): activations are rounded to 8 bits.</summary>
    PackedDot = 2,

    /// <summary>Arithmetic in half precision (<c>cl_khr_fp16</c>).</summary>
    Half = 4,
}

/// <summary>The names of features, and how they are chosen.</summary>
public static class GpuFeatureNames
{
    /// <summary>The environment variable that chooses: <c>none</c>, or names with commas between them.</summary>
    public const string Variable = "NIBBLE_OPENCL_FEATURES";

    private static readonly (GpuFeatures Feature, string Name)[] s_names = [(GpuFeatures.SubGroups, "sub-groups"), (GpuFeatures.PackedDot, "packed-dot"), (GpuFeatures.Half, "half")];

    /// <summary>All features.</summary>
    public const GpuFeatures All = GpuFeatures.SubGroups | GpuFeatures.PackedDot | GpuFeatures.Half;

    /// <summary>The names of features; empty for none.</summary>
    /// <param name="features">Features.</param>
    public static IReadOnlyList<string> Of(GpuFeatures features) => [.. s_names.Where(entry => features.HasFlag(entry.Feature)).Select(entry => entry.Name)];

    /// <summary>The names in a line; <c>none</c> for none.</summary>
    /// <param name="features">Features.</param>
    public static string Line(GpuFeatures features) => features == GpuFeatures.None ? "none" : string.Join(", ", Of(features));

    /// <summary>Reads a list of names.</summary>
    /// <param name="text"><c>none</c>, or names with commas between them.</param>
    /// <exception cref="ArgumentException">A word is no name.</exception>
    public static GpuFeatures Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        GpuFeatures features = GpuFeatures.None;
        if (text.Trim() == "none") return features;
        foreach (string word in text.Split(',', StringSplitOptions.TrimEntries))
        {
            (GpuFeatures feature, _) = Array.Find(s_names, entry => entry.Name == word);
            if (feature == GpuFeatures.None)
                throw new ArgumentException($"'{word}' in '{text}' is no feature of OpenCL devices; say none, or some of {string.Join(", ", s_names.Select(entry => entry.Name))}, with commas between them.", nameof(text));
            features |= feature;
        }

        return features;
    }

    /// <summary>What a backend on a device uses: what was asked for, by a program or else by the environment, or the device's own choice.</summary>
    /// <param name="device">The device.</param>
    /// <param name="asked">What a program asks for; null for nothing.</param>
    /// <param name="environment">What <see cref="Variable"/> says; null or empty for nothing.</param>
    /// <exception cref="GpuException">It is no list of features, or the device lacks one of them.</exception>
    internal static GpuFeatures Chosen(GpuDeviceInfo device, GpuFeatures? asked, string? environment)
    {
        if (asked is null && string.IsNullOrWhiteSpace(environment)) return device.DefaultFeatures;
        GpuFeatures wanted;
        try
        {
            wanted = asked ?? Parse(environment!);
        }
        catch (ArgumentException error)
        {
            throw new GpuException($"{Variable}: {error.Message.Split(" (Parameter")[0]}", error);
        }

        if ((wanted & ~device.Features) == 0) return wanted;
        string source = asked is null ? Variable : nameof(GpuOptions.Features);
        throw new GpuException($"device '{device.Name}' lacks {Line(wanted & ~device.Features)}, for which {source} asks ({Line(wanted)}); it has {Line(device.Features)}. Ask for no more than that, or for nothing, which leaves the choice to the device.");
    }
}
