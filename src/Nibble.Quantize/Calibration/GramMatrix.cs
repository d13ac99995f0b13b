using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Memory;

namespace Nibble.Quantize.Calibration;

/// <summary>A running sum of x xᵀ over rows x: the Hessian of a linear layer's squared error, up to a factor of two. Float32, summed in strips of 256 rows.</summary>
internal sealed unsafe class GramMatrix : IDisposable
{
    // A panel is a strip of Block columns of StripRows rows, its rows one after the other: it fits into a level 2 cache twice.
    private const int Block = 64;
    private const int StripRows = 256;

    private readonly int _columns;
    private readonly int _stride;
    private readonly NativeBuffer _sums;

    /// <summary>Starts with zeros.</summary>
    /// <param name="columns">Columns of a row.</param>
    public GramMatrix(int columns)
    {
        _columns = columns;
        _stride = Padded(columns);
        _sums = new NativeBuffer(Bytes(columns));
    }

    /// <summary>Columns of a row.</summary>
    public int Columns => _columns;

    /// <summary>Bytes that the sums of so many columns take.</summary>
    /// <param name="columns">Columns of a row.</param>
    public static long Bytes(int columns) => sizeof(float) * (long)Padded(columns) * Padded(columns);

    /// <summary>Adds rows.</summary>
    /// <param name="x">[rows x columns].</param>
    /// <param name="rows">Rows.</param>
    public void Add(ReadOnlySpan<float> x, int rows)
    {
        int blocks = _stride / Block;
        using NativeBuffer panels = new((long)blocks * Block * StripRows * sizeof(float), isZeroed: false);
        (int, int)[] pairs = [.. from i in Enumerable.Range(0, blocks) from j in Enumerable.Range(i, blocks - i) select (i, j)];
        fixed (float* all = x)
        {
            for (int start = 0; start < rows; start += StripRows)
            {
                int count = Math.Min(StripRows, rows - start);
                float* strip = all + ((long)start * _columns), packed = (float*)panels.Pointer, sums = (float*)_sums.Pointer;
                Work.For(blocks, block => Pack(strip, count, block, packed + ((long)block * Block * StripRows)));
                Work.For(pairs.Length, pair =>
                {
                    (int i, int j) = pairs[pair];
                    Multiply(packed + ((long)i * Block * StripRows), packed + ((long)j * Block * StripRows), count, sums + ((long)i * Block * _stride) + (j * Block), _stride);
                });
            }
        }
    }

    /// <summary>Copies the sums out, the lower triangle mirrored from the upper one.</summary>
    /// <param name="sums">[columns x columns], overwritten.</param>
    public void CopyTo(float* sums)
    {
        float* own = (float*)_sums.Pointer;
        for (int i = 0; i < _columns; i++)
            for (int j = 0; j < _columns; j++)
                sums[((long)i * _columns) + j] = i <= j ? own[((long)i * _stride) + j] : own[((long)j * _stride) + i];
    }

    /// <inheritdoc/>
    public void Dispose() => _sums.Dispose();

    private static int Padded(int columns) => (columns + Block - 1) / Block * Block;

    private void Pack(float* strip, int rows, int block, float* panel)
    {
        int first = block * Block, count = Math.Min(Block, _columns - first);
        for (int row = 0; row < rows; row++)
        {
            Span<float> target = new(panel + (row * Block), Block);
            new ReadOnlySpan<float>(strip + ((long)row * _columns) + first, count).CopyTo(target);
            target[count..].Clear();
        }
    }

    // sums[i, j] += sum over rows of a[row, i] b[row, j].
    private static void Multiply(float* a, float* b, int rows, float* sums, int stride)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            for (int j = 0; j < Block; j += 32)
                for (int i = 0; i < Block; i += 8)
                    Tile8x32(a + i, b + j, rows, sums + ((long)i * stride) + j, stride);
        }
        else
        {
            for (int j = 0; j < Block; j += 16)
                for (int i = 0; i < Block; i += 4)
                    Tile4x16(a + i, b + j, rows, sums + ((long)i * stride) + j, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile8x32(float* a, float* b, int rows, float* sums, int stride)
    {
        Vector512<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default;
        Vector512<float> s40 = default, s41 = default, s50 = default, s51 = default, s60 = default, s61 = default, s70 = default, s71 = default;
        for (int row = 0; row < rows; row++)
        {
            Vector512<float> b0 = Vector512.Load(b), b1 = Vector512.Load(b + 16);
            Vector512<float> v = Vector512.Create(a[0]);
            s00 = Vector512.MultiplyAddEstimate(v, b0, s00);
            s01 = Vector512.MultiplyAddEstimate(v, b1, s01);
            v = Vector512.Create(a[1]);
            s10 = Vector512.MultiplyAddEstimate(v, b0, s10);
            s11 = Vector512.MultiplyAddEstimate(v, b1, s11);
            v = Vector512.Create(a[2]);
            s20 = Vector512.MultiplyAddEstimate(v, b0, s20);
            s21 = Vector512.MultiplyAddEstimate(v, b1, s21);
            v = Vector512.Create(a[3]);
            s30 = Vector512.MultiplyAddEstimate(v, b0, s30);
            s31 = Vector512.MultiplyAddEstimate(v, b1, s31);
            v = Vector512.Create(a[4]);
            s40 = Vector512.MultiplyAddEstimate(v, b0, s40);
            s41 = Vector512.MultiplyAddEstimate(v, b1, s41);
            v = Vector512.Create(a[5]);
            s50 = Vector512.MultiplyAddEstimate(v, b0, s50);
            s51 = Vector512.MultiplyAddEstimate(v, b1, s51);
            v = Vector512.Create(a[6]);
            s60 = Vector512.MultiplyAddEstimate(v, b0, s60);
            s61 = Vector512.MultiplyAddEstimate(v, b1, s61);
            v = Vector512.Create(a[7]);
            s70 = Vector512.MultiplyAddEstimate(v, b0, s70);
            s71 = Vector512.MultiplyAddEstimate(v, b1, s71);
            a += Block;
            b += Block;
        }

        Add(sums, s00, s01);
        Add(sums += stride, s10, s11);
        Add(sums += stride, s20, s21);
        Add(sums += stride, s30, s31);
        Add(sums += stride, s40, s41);
        Add(sums += stride, s50, s51);
        Add(sums += stride, s60, s61);
        Add(sums + stride, s70, s71);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x16(float* a, float* b, int rows, float* sums, int stride)
    {
        Vector256<float> s00 = default, s01 = default, s10 = default, s11 = default, s20 = default, s21 = default, s30 = default, s31 = default;
        for (int row = 0; row < rows; row++)
        {
            Vector256<float> b0 = Vector256.Load(b), b1 = Vector256.Load(b + 8);
            Vector256<float> v = Vector256.Create(a[0]);
            s00 = Vector256.MultiplyAddEstimate(v, b0, s00);
            s01 = Vector256.MultiplyAddEstimate(v, b1, s01);
            v = Vector256.Create(a[1]);
            s10 = Vector256.MultiplyAddEstimate(v, b0, s10);
            s11 = Vector256.MultiplyAddEstimate(v, b1, s11);
            v = Vector256.Create(a[2]);
            s20 = Vector256.MultiplyAddEstimate(v, b0, s20);
            s21 = Vector256.MultiplyAddEstimate(v, b1, s21);
            v = Vector256.Create(a[3]);
            s30 = Vector256.MultiplyAddEstimate(v, b0, s30);
            s31 = Vector256.MultiplyAddEstimate(v, b1, s31);
            a += Block;
            b += Block;
        }

        Add(sums, s00, s01);
        Add(sums += stride, s10, s11);
        Add(sums += stride, s20, s21);
        Add(sums + stride, s30, s31);
    }

    private static void Add(float* sums, Vector512<float> first, Vector512<float> second)
    {
        (Vector512.Load(sums) + first).Store(sums);
        (Vector512.Load(sums + 16) + second).Store(sums + 16);
    }

    private static void Add(float* sums, Vector256<float> first, Vector256<float> second)
    {
        (Vector256.Load(sums) + first).Store(sums);
        (Vector256.Load(sums + 8) + second).Store(sums + 8);
    }
}
