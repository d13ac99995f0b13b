using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;

namespace Nibble.Quantize.Tests.Quantization;

/// <summary>Formats of tensors by llama-quantize's rules. Expected values are worked out by hand from llama-quant.cpp, llama.cpp v0.5.0.</summary>
public sealed class MixTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Type; queries per key; formats of the values, the networks' last matrices and the attention's outputs of 16 layers, and of the tied embedding.</summary>
    public static TheoryData<string, int, string, string, string, string> Mixes => new()
    {
        { "Q4_K_M", 1, "6 6 4 4 6 4 4 6 4 4 6 4 4 6 6 6", "6 6 4 4 6 4 4 6 4 4 6 4 4 6 6 6", "4 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "Q6_K" },
        { "Q4_K_S", 1, "5 5 5 5 4 4 4 4 4 4 4 4 4 4 4 4", "5 5 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "4 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "Q6_K" },
        { "Q5_K_M", 1, "6 6 5 5 6 5 5 6 5 5 6 5 5 6 6 6", "6 6 5 5 6 5 5 6 5 5 6 5 5 6 6 6", "5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5", "Q6_K" },
        { "Q3_K_M", 1, "5 5 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "5 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "4 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "Q6_K" },
        { "Q3_K_L", 1, "5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5", "5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5", "5 5 5 5 5 5 5 5 5 5 5 5 5 5 5 5", "Q6_K" },
        { "Q2_K", 1, "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3", "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3", "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3", "Q6_K" },
        { "Q2_K", 4, "4 4 4 4 4 4 4 4 4 4 4 4 4 4 4 4", "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3", "3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3", "Q6_K" },
        { "Q8_0", 4, "8 8 8 8 8 8 8 8 8 8 8 8 8 8 8 8", "8 8 8 8 8 8 8 8 8 8 8 8 8 8 8 8", "8 8 8 8 8 8 8 8 8 8 8 8 8 8 8 8", "Q8_0" },
    };

    [Theory]
    [MemberData(nameof(Mixes))]
    public void A_mix_gives_more_bits_to_the_layers_that_llama_quantize_gives_them(string type, int queriesPerKey, string values, string downs, string outputs, string embedding)
    {
        using GgufFile file = Model(layers: 16, queriesPerKey, 256);
        QuantizationPlan plan = Plan(file, type);
        Assert.Equal((values, downs, outputs), (Digits(plan, "attn_v"), Digits(plan, "ffn_down"), Digits(plan, "attn_output")));
        Assert.Equal(embedding, Format(plan, "token_embd.weight"));
        Assert.Equal("F32", Format(plan, "blk.3.attn_norm.weight"));
        Assert.Equal("F32", Format(plan, "blk.3.ffn_gate_inp.weight"));
    }

    [Fact]
    public void Importances_change_what_the_first_eighth_of_the_last_matrices_gets()
    {
        using GgufFile file = Model(layers: 16, 1, 256);
        Assert.Equal("Q5_K Q5_K IQ4_XS", Downs("IQ4_XS", false));
        Assert.Equal("IQ4_XS IQ4_XS IQ4_XS", Downs("IQ4_XS", true));
        Assert.Equal("Q4_0 Q4_0 Q4_0", Downs("Q4_0", false));
        Assert.Equal("Q4_1 Q4_1 Q4_0", Downs("Q4_0", true));
        Assert.Equal("Q5_1 Q5_1 Q5_0", Downs("Q5_0", true));

        string Downs(string type, bool hasImportance)
        {
            QuantizationPlan plan = QuantizationPlan.Create(file, FileType.Find(type)!, false, hasImportance, []);
            return string.Join(' ', Enumerable.Range(0, 3).Select(layer => Format(plan, $"blk.{layer}.ffn_down.weight")));
        }
    }

    [Fact]
    public void Eight_experts_get_values_and_keys_in_8_bits_and_tell_their_layer_by_name()
    {
        using GgufFile file = Model(layers: 16, 4, 256, experts: 8);
        QuantizationPlan plan = Plan(file, "Q4_K_M");
        Assert.Equal("Q8_0", Format(plan, "blk.5.attn_v.weight"));
        Assert.Equal("Q8_0", Format(plan, "blk.5.attn_k.weight"));
        Assert.Equal("Q5_K", Format(plan, "blk.5.attn_output.weight"));
        Assert.Equal("6 6 4 4 6 4 4 6 4 4 6 4 4 6 6 6", Digits(plan, "ffn_down"));
    }

    [Fact]
    public void Pure_has_one_format_and_floats_are_no_mix()
    {
        using GgufFile file = Model(layers: 2, 4, 256);
        QuantizationPlan pure = QuantizationPlan.Create(file, FileType.Find("q4_k")!, true, false, []);
        Assert.Equal(15u, pure.Type!.Number);
        Assert.All(pure.Tensors.Where(tensor => tensor.Source.Format != BlockFormats.F32), tensor => Assert.Equal(BlockFormats.Q4_K, tensor.Format));
        Assert.Equal("BF16", Format(Plan(file, "BF16"), "token_embd.weight"));
    }

    [Theory]
    [InlineData("Q4_K_M", 576, "Q5_0", "Q8_0")]
    [InlineData("Q5_K_S", 576, "Q5_1", "Q8_0")]
    [InlineData("Q3_K_S", 576, "Q4_0", "Q8_0")]
    [InlineData("Q6_K", 576, "Q8_0", "Q8_0")]
    [InlineData("IQ4_XS", 576, "IQ4_NL", "Q8_0")]
    [InlineData("Q4_0", 576, "Q4_0", "Q8_0")]
    [InlineData("Q4_0", 36, "F16", "F16")]
    public void Rows_that_no_block_fits_get_the_format_that_llama_quantize_gives_them(string type, int columns, string query, string embedding)
    {
        using GgufFile file = Model(layers: 16, 1, columns);
        QuantizationPlan plan = Plan(file, type);
        Assert.Equal(query, Format(plan, "blk.6.attn_q.weight"));
        Assert.Equal(embedding, Format(plan, "token_embd.weight"));
        PlannedTensor planned = plan.Tensors.Single(tensor => tensor.Source.Name == "blk.6.attn_q.weight");
        Assert.Equal(columns % ((BlockTarget)planned.Wanted).Format.BlockValues != 0, planned.IsFallback);
    }

    [Fact]
    public void The_first_pattern_that_is_found_in_a_name_decides_and_the_mix_counts_on_without_it()
    {
        using GgufFile file = Model(layers: 16, 1, 256);
        QuantizationPlan plan = QuantizationPlan.Create(file, FileType.Find("Q4_K_S")!, false, false, [(new("blk\\.[02]\\.attn_v"), BlockFormats.Q8_0), (new("attn_v|ffn_up"), BlockFormats.Q3_K)]);
        Assert.Equal("8 3 8 3 3 3 3 3 3 3 3 3 3 3 3 3", Digits(plan, "attn_v"));
        Assert.Equal("Q3_K", Format(plan, "blk.9.ffn_up.weight"));
        QuantizationPlan counted = QuantizationPlan.Create(file, FileType.Find("Q4_K_S")!, false, false, [(new("blk\\.[02]\\.attn_v"), BlockFormats.Q8_0)]);
        Assert.Equal("8 5 8 5 5 5 4 4 4 4 4 4 4 4 4 4", Digits(counted, "attn_v"));
    }

    [Theory]
    [InlineData("attn_norm")]
    [InlineData("no such name")]
    public void A_pattern_without_a_tensor_that_is_quantized_is_refused(string pattern)
    {
        using GgufFile file = Model(layers: 2, 1, 256);
        string message = Assert.Throws<QuantizationException>(() => QuantizationPlan.Create(file, FileType.Find("Q4_0")!, false, false, [(new(pattern), BlockFormats.Q8_0)])).Message;
        Assert.Contains($"'{pattern}'", message, StringComparison.Ordinal);
    }

    private static QuantizationPlan Plan(GgufFile file, string type) => QuantizationPlan.Create(file, FileType.Find(type)!, false, false, []);

    private static string Format(QuantizationPlan plan, string name) => plan.Tensors.Single(tensor => tensor.Source.Name == name).Target.Name;

    // The bits in the formats' names, layer by layer.
    private static string Digits(QuantizationPlan plan, string part) =>
        string.Join(' ', plan.Tensors.Where(tensor => tensor.Source.Name.Contains(part, StringComparison.Ordinal)).OrderBy(tensor => int.Parse(tensor.Source.Name.Split('.')[1])).Select(tensor => tensor.Target.Name[1]));

    private GgufFile Model(int layers, int queriesPerKey, int columns, int experts = 0)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "llama").Set("llama.block_count", (uint)layers).Set("llama.attention.head_count", 4u).Set("llama.attention.head_count_kv", (uint)(4 / queriesPerKey));
        if (experts > 0) writer.Set("llama.expert_count", (uint)experts);
        Add("token_embd.weight", 2);
        for (int layer = 0; layer < layers; layer++)
        {
            foreach (string name in (string[])["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_gate", experts > 0 ? "ffn_down_exps" : "ffn_down"]) Add($"blk.{layer}.{name}.weight", 2);
            writer.AddTensor($"blk.{layer}.attn_norm.weight", BlockFormats.F32, [columns], new byte[columns * 4]);
            writer.AddTensor($"blk.{layer}.ffn_gate_inp.weight", BlockFormats.F32, [columns, 2], new byte[columns * 8]);
        }

        string path = Path.Combine(_folder.Root, $"{Guid.NewGuid():N}.gguf");
        writer.Write(path);
        return GgufFile.Open(path);

        void Add(string name, int rows) => writer.AddTensor(name, BlockFormats.F16, [columns, rows], new byte[columns * rows * 2]);
    }
}
