using System.Runtime.InteropServices;
using Nibble.Core.Encodings;
using Nibble.Core.Gguf;
using Nibble.Quantize.Methods;
using Nibble.Quantize.Tests.Import;

namespace Nibble.Quantize.Tests.Methods;

/// <summary>HQQ: parts against the toolkit's, and groups whose zeros are hard to hold.</summary>
public sealed class HqqTests
{
    /// <summary>Scales and zeros are hqq's, which has <c>round_zero</c> there; codes are chosen by the scales as float16 has them, hqq's by those before.</summary>
    [Fact]
    public void Parts_are_those_of_hqq_where_the_first_zero_is_rounded()
    {
        using TempFolder temporary = new();
        CheckpointImportTests.Import(Fixtures.Shared("fixtures", "checkpoints", "hqq-4bit"), temporary.File("theirs.gguf"));
        CheckpointImportTests.Import(Fixtures.Shared("fixtures", "checkpoints", "float16"), temporary.File("floats.gguf"));
        using GgufFile theirs = GgufFile.Open(temporary.File("theirs.gguf")), source = GgufFile.Open(temporary.File("floats.gguf"));
        int compared = 0;
        foreach (EncodedTensor tensor in theirs.Weights.Encoded.Where(tensor => !tensor.Encoding.HasRowOrder))
        {
            RoundingTask task = RoundingTask.Of(source.Find(tensor.Name)!, 0, TensorTarget.Find("int4:g64:float")!);
            RoundedMatrix rounded = new HqqRounding { RoundsFirstZero = true }.Round(task, TestContext.Current.CancellationToken), free = new HqqRounding().Round(task, TestContext.Current.CancellationToken);
            Assert.Equal(Bytes(EncodedPart.Scales), rounded.Parts[EncodedPart.Scales]);
            Assert.Equal(Bytes(EncodedPart.Scales), free.Parts[EncodedPart.Scales]);
            Half[] zeros = MemoryMarshal.Cast<byte, Half>(Bytes(EncodedPart.Zeros)).ToArray();
            Assert.InRange(Differing(MemoryMarshal.Cast<byte, Half>(rounded.Parts[EncodedPart.Zeros]).ToArray(), zeros), 0, 2);
            Assert.InRange(Differing(MemoryMarshal.Cast<byte, Half>(free.Parts[EncodedPart.Zeros]).ToArray(), zeros), zeros.Length / 2, zeros.Length);
            byte[] codes = Bytes(EncodedPart.Codes);
            Assert.InRange(Differing(rounded.Parts[EncodedPart.Codes], codes), 0, codes.Length / 200);
            compared++;

            byte[] Bytes(EncodedPart part)
            {
                GgufTensor expected = theirs.Find(EncodedTensors.PartName(tensor.Name, part))!;
                using MemoryStream stream = new();
                expected.CopyTo(stream);
                return stream.ToArray();
            }
        }

        Assert.Equal(2 * 5, compared);

        static int Differing<T>(T[] left, T[] right) => left.Zip(right).Count(pair => !pair.First!.Equals(pair.Second));
    }

    [Theory]
    [InlineData(4)]
    [InlineData(3)]
    [InlineData(8)]
    public void Values_far_from_zero_alike_or_tiny_stay_what_they_are(int bits)
    {
        const int Group = 32;
        Random random = new(3);
        float[] weights =
        [
            .. Values(i => 10 + (i * 1e-6f)),
            .. Values(i => -700 - (i * 1e-4f)),
            .. Values(_ => 0.25f),
            .. Values(_ => -3e-9f),
            .. Values(_ => 1e-42f),
            .. Values(_ => 0),
            .. Values(i => i * 1e-9f),
            .. Values(_ => random.NextSingle() - 0.5f),
        ];
        TensorTarget target = TensorTarget.Find($"int{bits}:g{Group}:float")!;
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", weights, weights.Length / Group, Group), 0, target);
        float[] decoded = target.Decode(new HqqRounding().Round(task, TestContext.Current.CancellationToken), task);
        float step = 1f / ((1 << bits) - 1);
        for (int i = 0; i < weights.Length; i++)
            Assert.Equal(weights[i], decoded[i], i >= 7 * Group ? step * 1.5f : (MathF.Abs(weights[i]) * 0.001f) + 4e-8f);

        IEnumerable<float> Values(Func<int, float> value) => Enumerable.Range(0, Group).Select(value);
    }

    [Theory]
    [InlineData("int4:tensor")]
    [InlineData("int4:g32:asym")]
    [InlineData("nf4")]
    public void A_target_that_it_does_not_make_is_named(string name)
    {
        RoundingTask task = RoundingTask.Of(new FloatMatrix("w.weight", MethodData.Weights(2, 64, 4), 2, 64), 0, TensorTarget.Find(name)!);
        Assert.Contains($"'w.weight' is to become {name}, which hqq does not make", Assert.Throws<ArgumentException>(() => new HqqRounding().Round(task, TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);
    }
}
