using System.Text;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu;

/// <summary>The kernels' source text, which travels inside the assembly, and the modules that were built from it.</summary>
/// <param name="device">The device that builds them.</param>
/// <param name="features">The features that they may use.</param>
/// <param name="isEmulated">Whether stand-ins take the features' places.</param>
internal sealed class KernelSources(GpuDevice device, GpuFeatures features, bool isEmulated) : IDisposable
{
    // Which files make a module, after the words of the language.
    private static readonly Dictionary<string, string[]> s_files = new()
    {
        ["elements"] = ["native/common/arithmetic.h", "native/common/elements.h"],
        ["norm"] = ["native/common/arithmetic.h", "native/common/norm.h"],
        ["recurrence"] = ["native/common/arithmetic.h", "native/common/recurrence.h"],
        ["routing"] = ["native/common/routing.h"],
        ["attention"] = ["native/common/arithmetic.h", "native/opencl/kv.cl", "native/opencl/attention.cl"],
        ["top_k"] = ["native/common/arithmetic.h", "native/common/top_k.h"],
        ["inputs"] = ["native/common/arithmetic.h", "native/opencl/inputs.cl"],
        ["matmul"] = ["native/opencl/planes.cl", "native/opencl/matmul.cl"],
        ["gemm"] = ["native/opencl/planes.cl", "native/opencl/gemm.cl"],
        ["rows"] = ["native/opencl/planes.cl", "native/opencl/rows.cl"],
        ["peaks"] = ["native/opencl/peaks.cl"],
    };

    private static readonly (GpuFeatures Feature, string Macro)[] s_macros = [(GpuFeatures.SubGroups, "SUB_GROUPS=1"), (GpuFeatures.PackedDot, "DOT=1"), (GpuFeatures.Half, "HALF=1")];

    // Those that reduce over a group.
    private static readonly HashSet<string> s_reducing = ["norm", "attention", "top_k"];

    private readonly Dictionary<string, GpuModule> _modules = [];

    /// <summary>A module, built when it is first asked for.</summary>
    /// <param name="name">A name of the table above.</param>
    /// <param name="defines">Macros that make a variant of it.</param>
    /// <exception cref="GpuException">It does not build.</exception>
    public GpuModule Module(string name, params ReadOnlySpan<string> defines) => Module(s_reducing.Contains(name) ? features & GpuFeatures.SubGroups : GpuFeatures.None, name, defines);

    /// <summary>A module that uses some features.</summary>
    /// <param name="used">The features.</param>
    /// <param name="name">A name of the table above.</param>
    /// <param name="defines">Macros that make a variant of it.</param>
    /// <exception cref="GpuException">It does not build.</exception>
    public GpuModule Module(GpuFeatures used, string name, params ReadOnlySpan<string> defines)
    {
        List<string> all = [.. defines];
        foreach ((GpuFeatures feature, string macro) in s_macros)
            if (used.HasFlag(feature)) all.Add(macro);
        if (used != GpuFeatures.None && isEmulated) all.Add("EMULATED=1");
        string key = string.Join(' ', [name, .. all]);
        if (_modules.TryGetValue(key, out GpuModule? known)) return known;
        try
        {
            // Half arithmetic is an extension of OpenCL C 1.2, too.
            return _modules[key] = device.Build(key, Text(name), [.. all], isNewest: !isEmulated && (used & ~GpuFeatures.Half) != 0);
        }
        catch (GpuException error) when (used != GpuFeatures.None)
        {
            throw new GpuException($"{error.Message}\nThey use {GpuFeatureNames.Line(used)}, which the device says it has; {GpuFeatureNames.Variable}=none does without.", error);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GpuModule module in _modules.Values)
            module.Dispose();
        _modules.Clear();
    }

    private static string Text(string name)
    {
        StringBuilder text = new();
        foreach (string file in (string[])["native/opencl/dialect.cl", .. s_files[name]])
        {
            using Stream stream = typeof(KernelSources).Assembly.GetManifestResourceStream(file) ?? throw new InvalidOperationException($"the assembly lacks {file}.");
            using StreamReader reader = new(stream);
            text.Append(reader.ReadToEnd()).Append('\n');
        }

        return text.ToString();
    }
}
