using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;

namespace Nibble.Cpu.Codes;

/// <summary>The unpacker of one block format, for whole rows.</summary>
internal sealed unsafe class CodeFormat
{
    private CodeFormat(BlockFormat format, bool hasMins, delegate*<byte*, int, sbyte*, float*, float*, void> unpack)
    {
        Format = format;
        HasMins = hasMins;
        Unpack = unpack;
    }

    /// <summary>The format.</summary>
    public BlockFormat Format { get; }

    /// <summary>Whether values have a minimum added.</summary>
    public bool HasMins { get; }

    /// <summary>Unpacks a row: bytes, columns, [columns] codes, [columns / 16] scales, [columns / 16] minima.</summary>
    public delegate*<byte*, int, sbyte*, float*, float*, void> Unpack { get; }

    /// <summary>The line of a format.</summary>
    public static CodeFormat Line<TUnpack>()
        where TUnpack : struct, IUnpack => new(TUnpack.Format, TUnpack.HasMins, &UnpackRow<TUnpack>);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void UnpackRow<TUnpack>(byte* row, int columns, sbyte* codes, float* scales, float* mins)
        where TUnpack : struct, IUnpack
    {
        for (int left = columns; left > 0; left -= TUnpack.Values)
        {
            TUnpack.Unpack(row, codes, scales, mins);
            row += TUnpack.Bytes;
            codes += TUnpack.Values;
            scales += TUnpack.Values / 16;
            mins += TUnpack.Values / 16;
        }
    }
}

/// <summary>The table of formats whose weights are used as 8-bit codes. F32, F16 and BF16 are not among them: their products are float32 in every mode.</summary>
internal static unsafe class CodeFormats
{
    /// <summary>Every such format.</summary>
    public static readonly CodeFormat[] All =
    [
        CodeFormat.Line<Q4_0Codes>(),
        CodeFormat.Line<Q4_1Codes>(),
        CodeFormat.Line<Q5_0Codes>(),
        CodeFormat.Line<Q5_1Codes>(),
        CodeFormat.Line<Q8_0Codes>(),
        CodeFormat.Line<Q2_KCodes>(),
        CodeFormat.Line<Q3_KCodes>(),
        CodeFormat.Line<Q4_KCodes>(),
        CodeFormat.Line<Q5_KCodes>(),
        CodeFormat.Line<Q6_KCodes>(),
        CodeFormat.Line<IQ4_NLCodes>(),
        CodeFormat.Line<IQ4_XSCodes>(),
        CodeFormat.Line<MXFP4Codes>(),
        CodeFormat.Line<NVFP4Codes>(),
        CodeFormat.Line<TQ1_0Codes>(),
        CodeFormat.Line<TQ2_0Codes>(),
    ];

    /// <summary>The line of a format, or null.</summary>
    public static CodeFormat? Find(BlockFormat format)
    {
        foreach (CodeFormat line in All)
            if (line.Format == format) return line;
        return null;
    }

    /// <summary>Decodes unpacked values with the bits of <see cref="BlockFormat.Decode"/>.</summary>
    /// <param name="codes">[columns].</param>
    /// <param name="scales">[columns / 16].</param>
    /// <param name="mins">[columns / 16], or null.</param>
    /// <param name="columns">A multiple of 16.</param>
    /// <param name="values">[columns], overwritten.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ToFloat(sbyte* codes, float* scales, float* mins, int columns, float* values)
    {
        for (int group = 0; group < columns / 16; group++, codes += 16, values += 16)
        {
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.Load(codes));
            Vector256<float> scale = Vector256.Create(scales[group]);
            Vector256<float> a = scale * Vector256.ConvertToSingle(Vector256.Create(Vector128.WidenLower(low), Vector128.WidenUpper(low)));
            Vector256<float> b = scale * Vector256.ConvertToSingle(Vector256.Create(Vector128.WidenLower(high), Vector128.WidenUpper(high)));
            if (mins != null)
            {
                Vector256<float> min = Vector256.Create(mins[group]);
                a += min;
                b += min;
            }

            a.Store(values);
            b.Store(values + 8);
        }
    }
}
