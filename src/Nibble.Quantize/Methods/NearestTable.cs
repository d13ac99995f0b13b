using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Encodings;

namespace Nibble.Quantize.Methods;

/// <summary>
/// NF4 and FP4: the scale of a block of 64 is its largest magnitude, the code that of the table's value nearest to w / scale. Double quantization: scale minus the mean of all scales, divided by the largest
/// magnitude of 256 of them, becomes the nearest of <see cref="DynamicMap"/>.
/// </summary>
/// <remarks>
/// Dettmers et al., QLoRA, arXiv 2305.14314; tables and steps: bitsandbytes 0.50.2, functional.py. On a CPU that version takes scales' codes from a list of 65 536 values between -1 and 1, so that some 0.1 % of them, which
/// lie between two values of the map, are not the nearest; here all are.
/// </remarks>
internal static class NearestTable
{
    /// <summary>The values of <c>create_dynamic_map</c> with sign and 7 exponents: for each power of ten twice as many fractions as for the one below, with 0 and 1; ascending.</summary>
    public static ImmutableArray<float> DynamicMap { get; } = MakeDynamicMap();

    /// <summary>The table of a name.</summary>
    public static ImmutableArray<float> Table(string name) => name == "nf4" ? TableEncoding.NormalFloat : TableEncoding.Float4;

    /// <summary>Rounds a matrix.</summary>
    public static RoundedMatrix Round(RoundingTask task)
    {
        TableEncoding encoding = (TableEncoding)task.Encoding!;
        float[] scales = Scales(task.Weights, encoding.Block);
        ImmutableArray<float> table = Table(encoding.TableName);
        Dictionary<EncodedPart, byte[]> parts = [];
        float[] used = Describe(encoding, scales, table, parts);
        Levels levels = new(table);
        byte[] codes = new byte[task.Weights.Length];
        Work.For(used.Length, block =>
        {
            int start = block * encoding.Block, end = Math.Min(codes.Length, start + encoding.Block);

            // Codes are chosen by the scale as it was before it was rounded, as bitsandbytes does.
            float inverse = Inverse(scales[block]);
            for (int i = start; i < end; i++) codes[i] = levels.Nearest(task.Weights[i] * inverse);
        });
        byte[] packed = new byte[codes.Length / 2];
        CodeBits.Pack(codes, 4, packed);
        parts[EncodedPart.Codes] = packed;
        return new RoundedMatrix(parts);
    }

    /// <summary>Fills in the parts but the codes.</summary>
    /// <param name="encoding">The tensor's description.</param>
    /// <param name="scales">[blocks] of one matrix.</param>
    /// <param name="table">What codes stand for.</param>
    /// <param name="parts">Is filled.</param>
    /// <returns>[blocks] the scales that a reader will find.</returns>
    public static float[] Describe(TableEncoding encoding, float[] scales, ImmutableArray<float> table, Dictionary<EncodedPart, byte[]> parts)
    {
        parts[EncodedPart.Table] = Bytes(table.AsSpan());
        if (encoding.NestedBlock == 0)
        {
            parts[EncodedPart.Scales] = Bytes(scales);
            return scales;
        }

        Levels levels = new(DynamicMap);
        byte[] codes = new byte[scales.Length];
        float[] nested = new float[(scales.Length + encoding.NestedBlock - 1) / encoding.NestedBlock], used = new float[scales.Length];
        for (int block = 0; block < nested.Length; block++)
        {
            int start = block * encoding.NestedBlock, end = Math.Min(scales.Length, start + encoding.NestedBlock);
            float largest = 0;
            for (int i = start; i < end; i++) largest = MathF.Max(largest, MathF.Abs(scales[i] - encoding.NestedOffset));
            nested[block] = largest;
            float inverse = Inverse(largest);
            for (int i = start; i < end; i++)
            {
                codes[i] = levels.Nearest((scales[i] - encoding.NestedOffset) * inverse);
                float scale = DynamicMap[codes[i]] * largest;
                used[i] = scale + encoding.NestedOffset;
            }
        }

        parts[EncodedPart.Scales] = codes;
        parts[EncodedPart.NestedScales] = Bytes(nested);
        parts[EncodedPart.NestedTable] = Bytes(DynamicMap.AsSpan());
        return used;
    }

    /// <summary>The largest magnitude of each block, counted through a matrix.</summary>
    public static float[] Scales(float[] weights, int block)
    {
        float[] scales = new float[(weights.Length + block - 1) / block];
        Work.For(scales.Length, b =>
        {
            foreach (float value in weights.AsSpan(b * block, Math.Min(block, weights.Length - (b * block)))) scales[b] = MathF.Max(scales[b], MathF.Abs(value));
        });
        return scales;
    }

    /// <summary>The mean of the scales of all of a tensor's matrices.</summary>
    public static float MeanScale(IWeightSource source, int block)
    {
        double sum = 0;
        long count = 0;
        for (int matrix = 0; matrix < source.Matrices; matrix++)
        {
            float[] scales = Scales(RoundingTask.Values(source, matrix), block);
            foreach (float scale in scales) sum += scale;
            count += scales.Length;
        }

        // What is no number is refused, by its place, when the matrix is rounded.
        float mean = (float)(sum / count);
        return float.IsFinite(mean) ? mean : 0;
    }

    // 0 where float32 has no finite inverse: such values count as zeros.
    private static float Inverse(float magnitude) => float.IsFinite(1 / magnitude) ? 1 / magnitude : 0;

    private static byte[] Bytes(ReadOnlySpan<float> values) => MemoryMarshal.AsBytes(values).ToArray();

    private static ImmutableArray<float> MakeDynamicMap()
    {
        const int Exponents = 7;
        List<float> values = [0, 1];
        for (int e = 0; e < Exponents; e++)
        {
            int count = 1 << e;
            float power = (float)Math.Pow(10, e - Exponents + 1);
            for (int i = 0; i < count; i++)
            {
                float low = Edge(i, count), high = Edge(i + 1, count), middle = (low + high) / 2 * power;
                values.Add(middle);
                values.Add(-middle);
            }
        }

        return [.. values.Order()];

        // Points at equal distances from 0.1 to 1, rounded as torch.linspace rounds them: from both ends.
        static float Edge(int i, int count)
        {
            float step = (1 - 0.1f) / count;
            return i < (count + 1) / 2 ? MathF.FusedMultiplyAdd(step, i, 0.1f) : MathF.FusedMultiplyAdd(-step, count - i, 1);
        }
    }

    /// <summary>A table in ascending order, to find the nearest value in.</summary>
    private sealed class Levels
    {
        private readonly byte[] _codes;
        private readonly float[] _middles;

        public Levels(ImmutableArray<float> table)
        {
            // FP4 has two zeros: what is just above 0 gets the second code, as bitsandbytes does.
            (float Value, byte Code)[] sorted = [.. table.Select((value, code) => (value, (byte)code)).OrderBy(one => one.value)];
            _codes = [.. sorted.Select(one => one.Code)];
            _middles = [.. Enumerable.Range(0, sorted.Length - 1).Select(i => (sorted[i].Value + sorted[i + 1].Value) / 2)];
        }

        /// <summary>The code of the nearest value; of two that are as near, of the lower one.</summary>
        public byte Nearest(float value)
        {
            int low = 0, high = _middles.Length;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (value > _middles[middle]) low = middle + 1;
                else high = middle;
            }

            return _codes[low];
        }
    }
}
