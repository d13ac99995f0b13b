using System.Text.Json.Nodes;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Import;

namespace Nibble.Quantize.Tests.Import;

/// <summary>The toolkits' checkpoints, each broken in many ways: one error that names the file, the tensor or field, and what was expected, before anything is written.</summary>
public class BrokenCheckpointTests
{
    // Tensors that may be missing, or dressed as others: they tell nothing that is not known otherwise.
    private static readonly string[] s_optional =
    [
        "g_idx missing", "weight_format missing", "weight_g_idx missing", "nbits missing", "group_size missing", "axis missing", "packing missing", "unpack_view_dtype missing", "view_as_float missing", "quant_scale missing",
        "quant_zero missing", "compute_dtype", "channel_wise", "encoded_state_dict", "offload_meta", "optimize", "round_zero", "stores_quant_config", "packing of another", "unpack_view_dtype of another",
    ];

    public static TheoryData<string> Folders => CheckpointImportTests.Folders();

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_tensor_that_is_missing_or_another_is_named_with_what_was_expected(string name)
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", name));
        folder.Write();
        byte[] whole = Import(folder);
        string[] names =
        [
            "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight", "model.layers.1.input_layernorm.weight",
            .. folder.Tensors.Keys.Where(tensor => tensor.StartsWith("model.layers.1.mlp.down_proj.", StringComparison.Ordinal)),
        ];
        int refused = 0;
        foreach (string tensor in names)
        {
            HfFolder.Tensor good = folder.Tensors[tensor];
            foreach ((string how, HfFolder.Tensor? broken) in Broken(good))
            {
                folder.Tensors.Remove(tensor);
                if (broken is not null) folder.Tensors.Add(tensor, broken);
                folder.Write();
                string what = $"{tensor} {how}";
                if (Refusal(folder) is { } error)
                {
                    Assert.True(error.Message.StartsWith("model.safetensors: ", StringComparison.Ordinal) && error.Message.Contains($"'{tensor}", StringComparison.Ordinal), $"{what}: {error.Message}");
                    Assert.True(how == "missing" ? error.Message.Contains("is missing (", StringComparison.Ordinal) : error.Message.Contains("needed", StringComparison.Ordinal) || error.Message.Contains("can be read", StringComparison.Ordinal), $"{what}: {error.Message}");
                    refused++;
                }
                else
                {
                    bool isDressed = name.StartsWith("bnb-", StringComparison.Ordinal) && how != "missing" && !how.EndsWith("shorter", StringComparison.Ordinal) && (tensor.EndsWith("proj.weight", StringComparison.Ordinal) || tensor.Contains("quant_state", StringComparison.Ordinal));
                    Assert.True(isDressed || s_optional.Any(part => what.Contains("." + part, StringComparison.Ordinal)), $"{what} was imported");
                    Assert.Equal(whole, Import(folder));
                }
            }

            folder.Tensors[tensor] = good;
        }

        Assert.True(refused >= 4 * names.Length / 2, $"{refused} of {names.Length} tensors");
    }

    [Theory]
    [InlineData("gptq-v1", "bits", "5", "2, 4 and 8 can be read")]
    [InlineData("gptq-v2", "bits", "3", "2, 4 and 8 can be read")]
    [InlineData("gptq-v1", "bits", "\"4\"", "a whole number from 1 to 32")]
    [InlineData("gptq-v1", "group_size", "0", "-1, or 1 or more")]
    [InlineData("gptq-v1", "checkpoint_format", "\"marlin\"", "gptq and gptq_v2 can be read")]
    [InlineData("gptq-v1", "pack_dtype", "\"int64\"", "int32 is needed")]
    [InlineData("awq-gemm", "bits", "5", "4 can be read")]
    [InlineData("awq-gemm", "version", "\"gemv\"", "gemm can be read")]
    [InlineData("bnb-nf4", "load_in_4bit", "false", "load_in_8bit must be true")]
    [InlineData("bnb-int8", "load_in_8bit", "\"yes\"", "true or false is needed")]
    [InlineData("ct-pack-quantized", "config_groups.group_0.weights.num_bits", "5", "4 and 8 can be read")]
    [InlineData("ct-int8", "config_groups.group_0.weights.num_bits", "4", "8 can be read of int-quantized")]
    [InlineData("mxfp4", "config_groups.group_0.weights.num_bits", "8", "4 can be read of mxfp4-pack-quantized")]
    [InlineData("ct-asym", "format", "\"marlin-24\"", "pack-quantized, int-quantized")]
    [InlineData("ct-asym", "quantization_status", "\"frozen\"", "'compressed' is needed")]
    [InlineData("hqq-4bit", "quant_config.weight_quant_params.nbits", "5", "4 can be read")]
    [InlineData("hqq-4bit", "quant_config.weight_quant_params.axis", "0", "1 can be read")]
    [InlineData("fp8", "weight_block_size", "[128]", "two numbers")]
    [InlineData("fp8", "activation_scheme", "\"static\"", "'dynamic' is needed")]
    public void A_setting_that_cannot_be_read_is_named(string name, string path, string value, string expected)
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", name));
        string[] parts = path.Split('.');
        JsonNode node = folder.Config["quantization_config"]!;
        foreach (string part in parts[..^1]) node = node[part]!;
        Assert.NotNull(node[parts[^1]]);
        node[parts[^1]] = JsonNode.Parse(value);
        node.AsObject().Remove("_" + path); // transformers writes both
        folder.Write();
        Named(folder, $"quantization_config.{path} is {value}", expected);
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void An_unknown_method_is_named_with_those_that_are_read(string name)
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", name));
        folder.Config["quantization_config"] ??= new JsonObject();
        folder.Config["quantization_config"]!["quant_method"] = "exl2";
        folder.Write();
        Named(folder, "quantization_config.quant_method is \"exl2\"", "gptq, awq, bitsandbytes, compressed-tensors, hqq, fp8");
    }

    [Fact]
    public void A_state_in_JSON_that_is_wrong_is_named_with_its_tensor()
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", "bnb-nf4"));
        const string State = "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4";
        string good = System.Text.Encoding.UTF8.GetString(folder.Tensors[State].Bytes);
        foreach ((string from, string to, string expected) in new[]
        {
            ("\"nf4\"", "\"fp4\"", "'nf4' is needed"), ("\"blocksize\": 64", "\"blocksize\": 0", "a whole number from 2"), ("[512, 256]", "[256, 512]", "[512, 256] is needed"),
            ("[512, 256]", "[\"512\", 256]", "[512, 256] is needed"), ("{", "[", "no JSON"),
        })
        {
            Assert.Contains(from, good, StringComparison.Ordinal);
            byte[] bytes = System.Text.Encoding.UTF8.GetBytes(good.Replace(from, to, StringComparison.Ordinal));
            folder.Tensors[State] = new(SafetensorsType.U8, [bytes.Length], bytes);
            folder.Write();
            string message = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path)).Message;
            Assert.Contains($"model.safetensors: tensor '{State}'", message, StringComparison.Ordinal);
            Assert.Contains(expected, message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [MemberData(nameof(Folders))]
    public void A_shard_that_is_cut_off_or_gone_is_named(string name)
    {
        using HfFolder folder = HfFolder.CopyOf(Fixtures.Shared("fixtures", "checkpoints", name));
        folder.WriteShards(2);
        string shard = Path.Combine(folder.Path, "model-1.safetensors"), index = Path.Combine(folder.Path, "model.safetensors.index.json");
        byte[] whole = File.ReadAllBytes(shard);
        string last = folder.Tensors.Keys.Where((_, i) => i % 2 == 1).Last();
        int header = 8 + (int)BitConverter.ToInt64(whole);
        foreach ((int length, string expected) in new[] { (whole.Length - 1, $"'{last}': data_offsets"), (header, "the file has data from 0 to 0"), (header - 1, "the header's length is"), (5, "has 5 bytes"), (0, "has 0 bytes") })
        {
            File.WriteAllBytes(shard, whole[..length]);
            SafetensorsException error = Assert.Throws<SafetensorsException>(() => ModelImport.Open(folder.Path));
            Assert.Equal("model-1.safetensors", error.FileName);
            Assert.Contains(expected, error.Message, StringComparison.Ordinal);
        }

        File.Delete(shard);
        ImportException missing = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Equal("model.safetensors.index.json: weight_map names 'model-1.safetensors', which is not in the folder.", missing.Message);
        File.WriteAllText(index, File.ReadAllText(index)[..100]);
        Assert.Equal("model.safetensors.index.json", Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path)).FileName);
    }

    // The same tensor absent, of another shape with as many values, shorter, of another type of the same size.
    private static IEnumerable<(string How, HfFolder.Tensor? Tensor)> Broken(HfFolder.Tensor tensor)
    {
        long[] shape = tensor.Shape;
        yield return ("missing", null);
        long[]? turned = shape switch
        {
            [] => [1, 1],
            [var one] => [1, one],
            [var rows, var columns] when rows != columns => [columns, rows],
            [var rows, var columns] => [rows / 2, columns * 2],
            _ => null,
        };
        yield return ("of another shape", tensor with { Shape = turned! });
        if (shape is [> 1, ..]) yield return ("of another shape, shorter", tensor with { Shape = [shape[0] - 1, .. shape[1..]], Bytes = tensor.Bytes[..^(int)(tensor.Bytes.Length / shape[0])] });
        yield return ("of another type", tensor with
        {
            Type = tensor.Type switch
            {
                SafetensorsType.F32 => SafetensorsType.I32,
                SafetensorsType.I32 => SafetensorsType.F32,
                SafetensorsType.F16 or SafetensorsType.BF16 => SafetensorsType.I16,
                SafetensorsType.I64 => SafetensorsType.F64,
                SafetensorsType.I8 => SafetensorsType.U8,
                _ => SafetensorsType.I8,
            },
        });
    }

    private static ImportException? Refusal(HfFolder folder)
    {
        try
        {
            ModelImport.Open(folder.Path).Dispose();
            return null;
        }
        catch (ImportException error)
        {
            return error;
        }
    }

    private static void Named(HfFolder folder, params string[] parts)
    {
        ImportException error = Assert.Throws<ImportException>(() => ModelImport.Open(folder.Path));
        Assert.Equal("config.json", error.FileName);
        foreach (string part in parts) Assert.Contains(part, error.Message, StringComparison.Ordinal);
    }

    private static byte[] Import(HfFolder folder)
    {
        using ModelImport import = ModelImport.Open(folder.Path, "model");
        import.Write(folder.Output);
        byte[] bytes = File.ReadAllBytes(folder.Output);
        File.Delete(folder.Output);
        return bytes;
    }
}
