namespace Nibble.Quantize.Import.Formats;

/// <summary>The table of quantized formats that are read.</summary>
internal static class LayerFormats
{
    private static readonly (string Method, Func<JsonFields, LayerFormat> Make)[] s_lines =
    [
        ("gptq", config => new GptqFormat(config)),
        ("awq", config => new AwqFormat(config)),
        ("bitsandbytes", config => new BitsAndBytesFormat(config)),
        ("compressed-tensors", config => new CompressedTensorsFormat(config)),
        ("hqq", config => new HqqFormat(config)),
        ("fp8", config => new Float8Format(config)),
    ];

    /// <summary>The format of a checkpoint; null for floats.</summary>
    /// <exception cref="ImportException">It is none that is read.</exception>
    public static LayerFormat? Of(CheckpointFolder folder)
    {
        JsonFields? config = folder.Config.FindObject("quantization_config") ?? folder.Config.FindObject("text_config")?.FindObject("quantization_config");
        string fallback = string.Empty;
        if (config is null)
        {
            // AutoGPTQ and AutoAWQ wrote files of their own before transformers knew them.
            config = JsonFields.ReadIfThere(folder.PathOf("quantize_config.json"));
            fallback = "gptq";
            if (config is null)
            {
                config = JsonFields.ReadIfThere(folder.PathOf("quant_config.json"));
                fallback = "awq";
            }
        }

        if (config is null) return null;
        string? method = config.FindText("quant_method");
        // Old files of bitsandbytes have no method.
        if (method is null && (config.Has("load_in_4bit") || config.Has("load_in_8bit"))) method = "bitsandbytes";
        method ??= fallback.Length > 0 ? fallback : throw config.Error("quant_method", $"one of {string.Join(", ", s_lines.Select(line => line.Method))} is needed");
        foreach ((string known, Func<JsonFields, LayerFormat> make) in s_lines)
            if (known == method) return make(config);
        throw config.Error("quant_method", $"one of {string.Join(", ", s_lines.Select(line => line.Method))} is needed");
    }
}
