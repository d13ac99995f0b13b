using System.Text;
using Nibble.Gpu.Drivers;

namespace Nibble.Gpu;

/// <summary>The kernels' source text, which travels inside the assembly, and the modules that were built from it.</summary>
internal sealed class KernelSources(GpuDevice device) : IDisposable
{
    // Which files make a module, after the words of the language.
    private static readonly Dictionary<string, string[]> s_files = new()
    {
        ["elements"] = ["native/common/arithmetic.h", "native/common/elements.h"],
        ["norm"] = ["native/common/arithmetic.h", "native/common/norm.h"],
        ["recurrence"] = ["native/common/arithmetic.h", "native/common/recurrence.h"],
        ["routing"] = ["native/common/routing.h"],
        ["attention"] = ["native/common/arithmetic.h", "native/opencl/kv.cl", "native/opencl/attention.cl"],
        ["top_k"] = ["native/common/top_k.h"],
        ["matmul"] = ["native/opencl/planes.cl", "native/opencl/matmul.cl"],
        ["gemm"] = ["native/opencl/planes.cl", "native/opencl/gemm.cl"],
        ["rows"] = ["native/opencl/planes.cl", "native/opencl/rows.cl"],
        ["peaks"] = ["native/opencl/peaks.cl"],
    };

    private readonly Dictionary<string, GpuModule> _modules = [];

    /// <summary>A module, built when it is first asked for.</summary>
    /// <param name="name">A name of the table above.</param>
    /// <param name="defines">Macros that make a variant of it.</param>
    /// <exception cref="GpuException">It does not build.</exception>
    public GpuModule Module(string name, params ReadOnlySpan<string> defines)
    {
        string key = defines.IsEmpty ? name : $"{name} {string.Join(' ', defines!)}";
        if (_modules.TryGetValue(key, out GpuModule? known)) return known;
        return _modules[key] = device.Build(key, Text(name), defines);
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
