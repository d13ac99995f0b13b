using System.Runtime.InteropServices;
using System.Text.Json;
using Nibble.Core.Encodings;
using Nibble.Core.Gguf;
using Nibble.Core.Safetensors;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Quantization;
using Nibble.Quantize.Tests.Import;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>Rounding to nearest: bytes against the toolkits', KL against what was measured with them.</summary>
public sealed class NearestTests(KlMeter meter) : IClassFixture<KlMeter>
{
    /// <summary>Figures of ../shared/fixtures/jargon-6m/README.md, linear layers only, each within 5 %.</summary>
    [Theory]
    [InlineData("int4:g128", 0.01029)]
    [InlineData("int4:g32:asym", 0.00479)]
    [InlineData("int3:g128:asym", 0.03506)]
    [InlineData("nf4:double", 0.00652)]
    [InlineData("fp4", 0.01157)]
    public void The_loss_is_what_was_measured_with_the_toolkits(string target, double kl) => Assert.InRange(Kl(target), kl * 0.95, kl * 1.05);

    /// <summary>The other lines of that table, which CI can do without.</summary>
    [Theory(Explicit = true)]
    [InlineData("int4:g64", 0.00836)]
    [InlineData("int4:g32", 0.00722)]
    [InlineData("int4:g128:asym", 0.00772)]
    [InlineData("int4:g64:asym", 0.00619)]
    [InlineData("nf4", 0.00653)]
    public void The_loss_is_what_was_measured_with_the_toolkits_too(string target, double kl) => Assert.InRange(Kl(target), kl * 0.95, kl * 1.05);

    [Theory]
    [InlineData("int8:row")]
    [InlineData("llm.int8")]
    public void Eight_bits_lose_next_to_nothing(string target) => Assert.InRange(Kl(target), 0, 0.00005);

    /// <summary>Matrices whose rows GGUF keeps in the checkpoint's order, from the floats that the toolkit was given.</summary>
    [Theory]
    [InlineData("bnb-nf4", "bfloat16", "nf4")]
    [InlineData("bnb-fp4", "float16", "fp4")]
    [InlineData("bnb-int8", "float16", "llm.int8")]
    [InlineData("bnb-nf4-double", "bfloat16", "nf4:double")]
    public void Parts_are_those_of_bitsandbytes(string folder, string floats, string targetName)
    {
        using TempFolder temporary = new();
        CheckpointImportTests.Import(Fixtures.Shared("fixtures", "checkpoints", folder), temporary.File("theirs.gguf"));
        CheckpointImportTests.Import(Fixtures.Shared("fixtures", "checkpoints", floats), temporary.File("floats.gguf"));
        using GgufFile theirs = GgufFile.Open(temporary.File("theirs.gguf")), source = GgufFile.Open(temporary.File("floats.gguf"));
        TensorTarget target = TensorTarget.Find(targetName)!;
        int compared = 0;
        foreach (EncodedTensor tensor in EncodedTensors.Read(theirs))
        {
            if (tensor.Encoding.HasRowOrder) continue;
            RoundingTask task = RoundingTask.Of(source.Find(tensor.Name)!, 0, target);
            RoundedMatrix rounded = new RoundToNearest().Round(task, TestContext.Current.CancellationToken);
            foreach (EncodedPartShape part in tensor.Encoding.Parts())
            {
                GgufTensor expected = theirs.Find(EncodedTensors.PartName(tensor.Name, part.Part))!;
                byte[] bytes = new byte[expected.ByteLength];
                using (MemoryStream stream = new(bytes)) expected.CopyTo(stream);
                byte[] ours = rounded.Parts[part.Part];
                if (part.Part is EncodedPart.NestedScales or EncodedPart.NestedTable)
                {
                    // Means and powers of ten are rounded in another order.
                    float[] left = MemoryMarshal.Cast<byte, float>(bytes).ToArray(), right = MemoryMarshal.Cast<byte, float>(ours).ToArray();
                    for (int i = 0; i < left.Length; i++) Assert.Equal(left[i], right[i], 1e-7f);
                    Assert.Equal(((TableEncoding)tensor.Encoding).NestedOffset, ((TableEncoding)task.Encoding!).NestedOffset, 1e-7f);
                    continue;
                }

                // Their search for a scale's code does not always find the nearest; then it is the next one.
                int differing = bytes.Zip(ours).Count(pair => pair.First != pair.Second), allowed = part.Part == EncodedPart.Scales && target is TableTarget { IsDouble: true } ? bytes.Length / 100 : 0;
                Assert.True(differing <= allowed, $"{tensor.Name}.{part.Suffix}: {differing} of {bytes.Length} bytes differ");
                if (differing > 0) Assert.All(bytes.Zip(ours), pair => Assert.InRange(pair.Second - pair.First, -1, 1));
            }

            compared++;
        }

        Assert.Equal(2 * 5, compared);
    }

    [Theory]
    [InlineData("int4:g32")]
    [InlineData("int4:g32:asym")]
    [InlineData("int3:g64:asym")]
    [InlineData("int8:row")]
    [InlineData("int8:tensor")]
    [InlineData("nf4")]
    [InlineData("fp4:double")]
    [InlineData("llm.int8")]
    public void A_value_is_off_by_half_a_step_at_most(string name)
    {
        Random random = new(1);
        const int Rows = 5, Columns = 128;
        float[] weights = [.. Enumerable.Range(0, Rows * Columns).Select(_ => (random.NextSingle() - 0.4f) * 0.1f)];
        weights.AsSpan(Columns, Columns).Clear();
        TensorTarget target = TensorTarget.Find(name)!;
        RoundingTask task = Task(weights, Rows, Columns, target);
        float[] decoded = target.Decode(new RoundToNearest().Round(task, TestContext.Current.CancellationToken), task);

        // The widest step of each: a scale, or the widest gap of a table times the largest magnitude.
        float largest = weights.Max(MathF.Abs), step = name switch
        {
            "int4:g32" => largest / 7,
            "int4:g32:asym" => 0.1f / 15,
            "int3:g64:asym" => 0.1f / 7,
            "int8:row" or "int8:tensor" or "llm.int8" => largest / 127,
            "nf4" => largest * 0.304f,
            _ => largest / 3 * 1.1f,
        };
        for (int i = 0; i < weights.Length; i++)
            Assert.True(MathF.Abs(decoded[i] - weights[i]) <= (step / 2 * 1.01f) + (MathF.Abs(weights[i]) * 0.0005f), $"value {i}: {weights[i]} became {decoded[i]}");
        Assert.True(name == "fp4:double" || decoded.AsSpan(Columns, Columns).IndexOfAnyExcept(0f) < 0, "a row of zeros stays one");
    }

    [Theory]
    [InlineData("int4:g32")]
    [InlineData("int8:row:asym")]
    [InlineData("nf4")]
    [InlineData("fp4:double")]
    [InlineData("llm.int8")]
    public void Values_too_small_for_an_inverse_become_next_to_nothing(string name)
    {
        float[] weights = [.. Enumerable.Range(0, 2 * 64).Select(i => (i % 3) * 1e-42f)];
        TensorTarget target = TensorTarget.Find(name)!;
        RoundingTask task = Task(weights, 2, 64, target);
        Assert.All(target.Decode(new RoundToNearest().Round(task, TestContext.Current.CancellationToken), task), value => Assert.Equal(0, value, 3e-42f));
    }

    [Theory]
    [InlineData("int4:g64:asym")]
    [InlineData("int3:g32")]
    [InlineData("int8:row:float")]
    [InlineData("int2:g32")]
    [InlineData("int8:tensor:asym")]
    [InlineData("nf4:double")]
    [InlineData("fp4")]
    [InlineData("llm.int8")]
    [InlineData("Q4_K")]
    public void A_target_is_read_back_from_its_name(string name) => Assert.Equal(name, TensorTarget.Find(name)!.Name);

    [Theory]
    [InlineData("int5:g64")]
    [InlineData("int4:g0")]
    [InlineData("int4:g64:g32")]
    [InlineData("int4:asym:asym")]
    [InlineData("nf4:asym")]
    [InlineData("int4:tensor:float")]
    [InlineData("llm.int8:row")]
    [InlineData("Q9")]
    public void What_names_no_target_is_none(string name) => Assert.Null(TensorTarget.Find(name));

    [Fact]
    public void The_dynamic_map_has_256_values_in_order()
    {
        Assert.Equal(256, NearestTable.DynamicMap.Length);
        Assert.Equal(NearestTable.DynamicMap.Order(), NearestTable.DynamicMap);
        Assert.Equal((0.0f, 1.0f), (NearestTable.DynamicMap[127], NearestTable.DynamicMap[255]));
    }

    [Fact]
    public void Double_quantization_is_that_of_bitsandbytes_whose_codes_of_scales_are_found_in_steps()
    {
        using SafetensorsFile oracle = SafetensorsFile.Open(Fixtures.Shared("fixtures", "checkpoints", "bnb-nf4-double", "model.safetensors"));
        int compared = 0, differing = 0;
        foreach (string shard in Directory.GetFiles(Fixtures.Shared("fixtures", "checkpoints", "bfloat16"), "model-*.safetensors"))
        {
            using SafetensorsFile file = SafetensorsFile.Open(shard);
            foreach (SafetensorsTensor tensor in file.Tensors.Where(tensor => tensor.Name.EndsWith("_proj.weight", StringComparison.Ordinal)))
            {
                float[] weights = Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(tensor.Bytes()).ToArray(), bits => BitConverter.Int32BitsToSingle(bits << 16));
                RoundingTask task = Task(weights, (int)tensor.Shape[0], (int)tensor.Shape[1], TensorTarget.Find("nf4:double")!);
                TableEncoding encoding = (TableEncoding)task.Encoding!;
                IReadOnlyDictionary<EncodedPart, byte[]> made = new RoundToNearest().Round(task, TestContext.Current.CancellationToken).Parts;
                using JsonDocument state = JsonDocument.Parse(Expected(".quant_state.bitsandbytes__nf4"));
                Assert.Equal((float)state.RootElement.GetProperty("nested_offset").GetDouble(), encoding.NestedOffset);
                Assert.Equal(Expected(".nested_quant_map"), made[EncodedPart.NestedTable]);
                Assert.Equal(Expected(".quant_map"), made[EncodedPart.Table]);
                Assert.Equal(Expected(".nested_absmax"), made[EncodedPart.NestedScales]);
                Assert.Equal(Array.ConvertAll(Expected(string.Empty), pair => (byte)((pair >> 4) | (pair << 4))), made[EncodedPart.Codes]);

                // The step of its list is 2 / 65535.
                byte[] expected = Expected(".absmax"), codes = made[EncodedPart.Scales];
                float[] scales = NearestTable.Scales(weights, encoding.Block), nested = MemoryMarshal.Cast<byte, float>(made[EncodedPart.NestedScales]).ToArray();
                for (int i = 0; i < codes.Length; i++)
                {
                    compared++;
                    if (codes[i] == expected[i]) continue;
                    differing++;
                    double share = (scales[i] - encoding.NestedOffset) / nested[i / encoding.NestedBlock], middle = (NearestTable.DynamicMap[codes[i]] + NearestTable.DynamicMap[expected[i]]) / 2.0;
                    Assert.Equal(1, Math.Abs(codes[i] - expected[i]));
                    Assert.InRange(Math.Abs(share - middle), 0, 1.01 / 65535);
                }

                byte[] Expected(string suffix) => oracle.Find(tensor.Name + suffix)!.Bytes().ToArray();
            }
        }

        Assert.Equal(18432, compared);
        Assert.InRange(differing, 0, compared / 1000);
    }

    private static RoundingTask Task(float[] weights, int rows, int columns, TensorTarget target)
    {
        GgufWriter writer = new();
        writer.AddTensor("w.weight", Nibble.Core.Formats.BlockFormats.F32, [columns, rows], MemoryMarshal.AsBytes(weights.AsSpan()).ToArray());
        using TempFolder folder = new();
        writer.Write(folder.File("w.gguf"));
        using GgufFile file = GgufFile.Open(folder.File("w.gguf"));
        return RoundingTask.Of(file.Find("w.weight")!, 0, target);
    }

    private double Kl(string target)
    {
        using TempFolder folder = new();
        using GgufFile file = GgufFile.Open(KlMeter.Model);
        QuantizationPlan plan = QuantizationPlan.Create(file, new PlanOptions { Target = TensorTarget.Find(target)! });
        new ModelQuantizer(file, plan, null, null).Write(folder.File("out.gguf"), null, TestContext.Current.CancellationToken);
        double kl = meter.Of(folder.File("out.gguf"));
        TestContext.Current.TestOutputHelper?.WriteLine($"{target}: {kl:F5}");
        return kl;
    }
}
