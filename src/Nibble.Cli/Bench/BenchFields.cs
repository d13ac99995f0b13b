using System.Globalization;
using System.Reflection;
using System.Text.Json;

namespace Nibble.Cli.Bench;

/// <summary>
/// The fields of a result, in llama-bench's names and order (llama.cpp v0.5.0), so that programs that read its JSON or CSV read Nibble's. Settings that Nibble does not have hold the value that
/// says what it does: weights are mapped, attention never stores its scores, no thread is masked, nothing is on a GPU. Nibble's own fields follow.
/// </summary>
internal static class BenchFields
{
    private static readonly (string Name, Func<BenchResult, object?> Value)[] All =
    [
        ("build_commit", _ => Commit),
        ("build_number", _ => 0L),
        ("cpu_info", _ => ProcessorName.Value),
        ("gpu_info", _ => string.Empty),
        ("backends", result => result.Setup.Backend),
        ("model_filename", result => result.Setup.FileName),
        ("model_type", result => result.Setup.ModelType),
        ("model_size", result => result.Setup.ModelBytes),
        ("model_n_params", result => result.Setup.Parameters),
        ("n_batch", result => (long)result.Setup.Batch),
        ("n_ubatch", result => (long)result.Setup.Batch),
        ("n_threads", result => (long)result.Setup.Threads),
        ("cpu_mask", _ => "0x0"),
        ("cpu_strict", _ => false),
        ("poll", _ => 0L),
        ("type_k", result => KvName(result)),
        ("type_v", result => KvName(result)),
        ("n_gpu_layers", result => (long)result.Setup.GpuLayers),
        ("n_cpu_moe", _ => 0L),
        ("split_mode", _ => "none"),
        ("main_gpu", _ => 0L),
        ("no_kv_offload", _ => false),
        ("flash_attn", _ => 1L),
        ("devices", _ => "none"),
        ("tensor_split", _ => "0.00"),
        ("tensor_buft_overrides", _ => "none"),
        ("load_mode", _ => "mmap"),
        ("lazy_mode", _ => "off"),
        ("embeddings", _ => false),
        ("no_op_offload", _ => 0L),
        ("no_host", _ => false),
        ("fit_target", _ => 0L),
        ("fit_min_ctx", _ => 0L),
        ("n_prompt", result => (long)result.Test.Prompt),
        ("n_gen", result => (long)result.Test.Generated),
        ("n_depth", result => (long)result.Test.Depth),
        ("test_time", result => result.Time.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture)),
        ("avg_ns", result => result.MeanNanoseconds),
        ("stddev_ns", result => result.DeviationNanoseconds),
        ("avg_ts", result => result.MeanSpeed),
        ("stddev_ts", result => result.SpeedDeviation),
        ("cpu_path", result => result.Setup.CpuPath),
        ("exact", result => result.Setup.IsExact),
        ("bytes_per_token", result => result.TokenBytes),
        ("gb_per_s", result => result.BytesPerSecond / 1e9),
        ("read_gb_per_s", result => result.ReadBandwidth / 1e9),
        ("read_share", result => result.ReadShare),
    ];

    /// <summary>The names.</summary>
    public static IEnumerable<string> Names => All.Select(row => row.Name);

    /// <summary>The commit that the program was built from, or <c>unknown</c>.</summary>
    public static string Commit { get; } = FindCommit();

    /// <summary>The values of a result as text, in the order of <see cref="Names"/>; empty where there is none.</summary>
    public static IEnumerable<string> Texts(BenchResult result) => All.Select(row => FieldValues.Text(row.Value(result)));

    /// <summary>Writes a result as an object.</summary>
    public static void Write(Utf8JsonWriter writer, BenchResult result)
    {
        writer.WriteStartObject();
        foreach ((string name, Func<BenchResult, object?> value) in All)
        {
            writer.WritePropertyName(name);
            FieldValues.Write(writer, value(result));
        }

        writer.WriteStartArray("samples_ns");
        foreach (long sample in result.Samples)
            writer.WriteNumberValue(sample);
        writer.WriteEndArray();
        writer.WriteStartArray("samples_ts");
        foreach (double speed in result.Speeds)
            writer.WriteNumberValue(Math.Round(speed, 6));
        writer.WriteEndArray();
        writer.WriteEndObject();
    }

    /// <summary>ggml's name of the format of keys and values.</summary>
    public static string KvName(BenchResult result) => result.Test.Kv.Name.ToLowerInvariant();

    // The build appends it to the version: 0.1.0+commit.
    private static string FindCommit()
    {
        string version = typeof(BenchFields).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? string.Empty;
        int plus = version.IndexOf('+', StringComparison.Ordinal);
        return plus < 0 ? "unknown" : version[(plus + 1)..Math.Min(version.Length, plus + 10)];
    }
}
