using System.Text.Json.Nodes;
using Nibble.Core.Gguf;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>Folders that cannot be imported: one error that names the file, the tensor or field, and what was expected; and no output.</summary>
public class ImportErrorTests
{
    [Fact]
    public void A_good_folder_is_imported_whole_or_in_shards_with_the_same_bytes()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Write();
        byte[] whole = Import(folder);
        File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        folder.WriteShards(3);
        Assert.Equal(whole, Import(folder));
    }

    [Fact]
    public void A_missing_tensor_is_named_with_its_file()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Tensors.Remove("model.layers.1.mlp.up_proj.weight");
        folder.Write();
        Refused(folder, "model.safetensors", "'model.layers.1.mlp.up_proj.weight' is missing", "intermediate_size, hidden_size");
        folder.Tensors.Remove("model.layers.0.input_layernorm.weight");
        folder.WriteShards(2);
        File.Delete(Path.Combine(folder.Path, "model.safetensors"));
        Refused(folder, "model.safetensors.index.json", "'model.layers.0.input_layernorm.weight' is missing");
    }

    [Fact]
    public void A_wrong_shape_is_named_with_both_shapes()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Set("model.layers.0.self_attn.k_proj.weight", [32, 16], new float[512]);
        folder.Write();
        Refused(folder, "model.safetensors", "'model.layers.0.self_attn.k_proj.weight' is F32 [32, 16]", "[16, 32] is needed", "num_key_value_heads");
    }

    [Fact]
    public void A_wrong_type_is_named()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Tensors["model.layers.0.mlp.gate_proj.weight"] = new(SafetensorsType.F64, [64, 32], new byte[8 * 64 * 32]);
        folder.Write();
        Refused(folder, "model.safetensors", "'model.layers.0.mlp.gate_proj.weight' is F64 [64, 32]", "F32 or F16 or BF16");
    }

    [Fact]
    public void A_tensor_that_nothing_knows_is_named()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Set("model.layers.0.self_attn.sinks", [4], new float[4]);
        folder.Write();
        Refused(folder, "model.safetensors", "'model.layers.0.self_attn.sinks'", "would run wrongly");
    }

    [Theory]
    [InlineData("model_type", "\"gpt_neox\"", "model_type is \"gpt_neox\"; one of")]
    [InlineData("model_type", "null", "model_type is missing")]
    [InlineData("hidden_size", "\"32\"", "hidden_size is \"32\"; a whole number from 1")]
    [InlineData("hidden_size", "0", "hidden_size is 0")]
    [InlineData("num_key_value_heads", "3", "a divisor of num_attention_heads, 4")]
    [InlineData("num_hidden_layers", "1e9", "num_hidden_layers is 1e9")]
    [InlineData("hidden_act", "\"gelu\"", "hidden_act is \"gelu\"")]
    [InlineData("vocab_size", "299", "'tok_299' has the id 299")]
    [InlineData("rope_scaling", "{\"type\":\"made-up\"}", "rope_scaling.type is \"made-up\"")]
    [InlineData("rope_parameters", "{\"rope_type\":\"llama3\",\"factor\":8}", "rope_parameters.low_freq_factor is missing")]
    [InlineData("rope_scaling", "{\"rope_type\":\"yarn\",\"factor\":-2}", "rope_scaling.factor is -2")]
    [InlineData("rms_norm_eps", "1e400", "rms_norm_eps is 1e400")]
    [InlineData("eos_token_id", "300", "eos_token_id is 300; an id from 0 to 299")]
    public void A_wrong_field_of_the_configuration_is_named(string name, string value, string expected)
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Config[name] = JsonNode.Parse(value);
        folder.Write();
        ImportException error = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("../model-0.safetensors", "without folders")]
    [InlineData("/etc/passwd", "without folders")]
    [InlineData("..", "without folders")]
    [InlineData("model-9.safetensors", "not in the folder")]
    [InlineData("model-1.safetensors", "is missing; model.safetensors.index.json says")]
    public void An_index_that_leads_elsewhere_is_refused(string shard, string expected)
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.WriteShards(2);
        string index = Path.Combine(folder.Path, "model.safetensors.index.json");
        JsonNode map = JsonNode.Parse(File.ReadAllText(index))!;
        map["weight_map"]!["model.embed_tokens.weight"] = shard;
        File.WriteAllText(index, map.ToJsonString());
        ImportException error = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Contains(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_weights_or_configuration_or_tokenizer_is_refused()
    {
        using HfFolder folder = TinyLlama.Folder();
        Refused(folder, "config.json", "missing");
        folder.WriteText("config.json", "{");
        Refused(folder, "config.json", "no JSON");
        folder.WriteText("config.json", folder.Config.ToJsonString());
        folder.WriteText("pytorch_model.bin", "x");
        Refused(folder, "model.safetensors", "PyTorch files");
        folder.Write();
        File.Delete(Path.Combine(folder.Path, "tokenizer.json"));
        Refused(folder, "tokenizer.json", "neither this file nor tokenizer.model");
    }

    [Fact]
    public void A_writing_that_is_stopped_leaves_what_was_there()
    {
        using HfFolder folder = TinyLlama.Folder();
        folder.Write();
        File.WriteAllText(folder.Output, "before");
        using ModelImport import = ModelImport.Open(folder.Path);
        using CancellationTokenSource source = new();
        Assert.Throws<OperationCanceledException>(() => import.Write(folder.Output, (share, _) =>
        {
            if (share > 0.5) source.Cancel();
        }, source.Token));
        Assert.Equal("before", File.ReadAllText(folder.Output));
        Assert.DoesNotContain(Directory.GetFiles(folder.Path), file => file.Contains("partial", StringComparison.Ordinal));
    }

    private static byte[] Import(HfFolder folder)
    {
        using ModelImport import = ModelImport.Open(folder.Path);
        import.Write(folder.Output);
        using (GgufFile file = GgufFile.Open(folder.Output)) Assert.NotEmpty(file.Tensors);
        return File.ReadAllBytes(folder.Output);
    }

    private static void Refused(HfFolder folder, string file, params string[] parts)
    {
        ImportException error = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Equal(file, error.FileName);
        foreach (string part in parts) Assert.Contains(part, error.Message, StringComparison.Ordinal);
        Assert.False(File.Exists(folder.Output));
    }
}
