using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Nibble.Quantize.Gradients;

/// <summary>
/// C = A B in float32 on one thread. B is packed in panels of 32 columns, A is read in place in either order. An element of C is one sum in the order of the depth, fused multiply-adds where there are some:
/// neither the width of vectors nor how C is cut shows in it.
/// </summary>
internal static unsafe class MatrixProduct
{
    /// <summary>Columns of a panel.</summary>
    public const int PanelColumns = 32;

    // A panel of so many rows, 64 KiB, stays in a level 2 cache.
    private const int DepthBlock = 512;
    private const int TileRows = 8;

    /// <summary>Floats that the panels of a matrix take.</summary>
    /// <param name="depth">Rows of B.</param>
    /// <param name="columns">Columns of B.</param>
    public static long PanelFloats(int depth, int columns) => (columns + PanelColumns - 1L) / PanelColumns * PanelColumns * depth;

    /// <summary>Packs B: element (k, j) lies at b[k x depthStride + j x columnStride].</summary>
    /// <param name="b">The matrix.</param>
    /// <param name="depthStride">From one k to the next.</param>
    /// <param name="columnStride">From one j to the next.</param>
    /// <param name="depth">Rows of B.</param>
    /// <param name="columns">Columns of B.</param>
    /// <param name="panels">[panels x depth x 32], overwritten; columns past the last are 0.</param>
    public static void Pack(float* b, long depthStride, long columnStride, int depth, int columns, float* panels)
    {
        for (int first = 0; first < columns; first += PanelColumns)
        {
            int count = Math.Min(PanelColumns, columns - first);
            float* source = b + (first * columnStride);
            if (columnStride == 1)
            {
                for (int k = 0; k < depth; k++)
                {
                    Span<float> row = new(panels + ((long)k * PanelColumns), PanelColumns);
                    new ReadOnlySpan<float>(source + (k * depthStride), count).CopyTo(row);
                    row[count..].Clear();
                }
            }
            else
            {
                for (int j = 0; j < PanelColumns; j++)
                    for (int k = 0; k < depth; k++)
                        panels[((long)k * PanelColumns) + j] = j < count ? source[(j * columnStride) + (k * depthStride)] : 0;
            }

            panels += (long)depth * PanelColumns;
        }
    }

    /// <summary>C = A B, or C += A B. Element (i, k) of A lies at a[i x rowStride + k x depthStride].</summary>
    /// <param name="a">A.</param>
    /// <param name="rowStride">From one row of A to the next.</param>
    /// <param name="depthStride">From one column of A to the next.</param>
    /// <param name="rows">Rows of A and C.</param>
    /// <param name="panels">B, packed, at its first panel that is wanted and its first row that is wanted.</param>
    /// <param name="panelDepth">Rows that B was packed with.</param>
    /// <param name="depth">Rows of B that are wanted, columns of A.</param>
    /// <param name="columns">Columns of B that are wanted, columns of C.</param>
    /// <param name="c">C.</param>
    /// <param name="stride">From one row of C to the next.</param>
    /// <param name="add">Whether the products are added to what C holds.</param>
    public static void Multiply(float* a, long rowStride, long depthStride, int rows, float* panels, int panelDepth, int depth, int columns, float* c, long stride, bool add)
    {
        for (int start = 0; start < depth; start += DepthBlock)
        {
            int count = Math.Min(DepthBlock, depth - start);
            float* first = a + (start * depthStride);
            bool adds = add || start > 0;
            for (int column = 0; column < columns; column += PanelColumns)
            {
                float* panel = panels + ((long)column * panelDepth) + ((long)start * PanelColumns);
                int width = Math.Min(PanelColumns, columns - column);
                int row = 0;
                for (; row + TileRows <= rows; row += TileRows)
                    Tile(first + (row * rowStride), (nint)rowStride, (nint)depthStride, panel, count, TileRows, width, c + (row * stride) + column, (nint)stride, adds);
                for (; row < rows; row++)
                    Tile(first + (row * rowStride), (nint)rowStride, (nint)depthStride, panel, count, 1, width, c + (row * stride) + column, (nint)stride, adds);
            }
        }
    }

    private static void Tile(float* a, nint rowStride, nint depthStride, float* panel, int depth, int rows, int width, float* c, nint stride, bool add)
    {
        if (width == PanelColumns)
        {
            Whole(a, rowStride, depthStride, panel, depth, rows, c, stride, add);
            return;
        }

        float* edge = stackalloc float[TileRows * PanelColumns];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < PanelColumns; j++)
                edge[(i * PanelColumns) + j] = add && j < width ? c[(i * stride) + j] : 0;
        Whole(a, rowStride, depthStride, panel, depth, rows, edge, PanelColumns, add);
        for (int i = 0; i < rows; i++)
            new ReadOnlySpan<float>(edge + (i * PanelColumns), width).CopyTo(new Span<float>(c + (i * stride), width));
    }

    private static void Whole(float* a, nint rowStride, nint depthStride, float* panel, int depth, int rows, float* c, nint stride, bool add)
    {
        if (!add)
            for (int i = 0; i < rows; i++)
                new Span<float>(c + (i * stride), PanelColumns).Clear();
        if (rows == 1)
        {
            Tile1x32(a, depthStride, panel, depth, c);
        }
        else if (Vector512.IsHardwareAccelerated)
        {
            Tile8x32(a, rowStride, depthStride, panel, depth, c, stride);
        }
        else
        {
            for (int i = 0; i < TileRows; i += 4)
                for (int j = 0; j < PanelColumns; j += 16)
                    Tile4x16(a + (i * rowStride), rowStride, depthStride, panel + j, depth, c + (i * stride) + j, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile8x32(float* a, nint rowStride, nint depthStride, float* b, int depth, float* c, nint stride)
    {
        float* c1 = c + stride, c2 = c1 + stride, c3 = c2 + stride, c4 = c3 + stride, c5 = c4 + stride, c6 = c5 + stride, c7 = c6 + stride;
        Vector512<float> s00 = Vector512.Load(c), s01 = Vector512.Load(c + 16), s10 = Vector512.Load(c1), s11 = Vector512.Load(c1 + 16);
        Vector512<float> s20 = Vector512.Load(c2), s21 = Vector512.Load(c2 + 16), s30 = Vector512.Load(c3), s31 = Vector512.Load(c3 + 16);
        Vector512<float> s40 = Vector512.Load(c4), s41 = Vector512.Load(c4 + 16), s50 = Vector512.Load(c5), s51 = Vector512.Load(c5 + 16);
        Vector512<float> s60 = Vector512.Load(c6), s61 = Vector512.Load(c6 + 16), s70 = Vector512.Load(c7), s71 = Vector512.Load(c7 + 16);
        nint r2 = 2 * rowStride, r3 = 3 * rowStride, r4 = 4 * rowStride, r5 = 5 * rowStride, r6 = 6 * rowStride, r7 = 7 * rowStride;
        for (int k = 0; k < depth; k++)
        {
            Vector512<float> b0 = Vector512.Load(b), b1 = Vector512.Load(b + 16);
            Vector512<float> v = Vector512.Create(*a);
            s00 = Vector512.MultiplyAddEstimate(v, b0, s00);
            s01 = Vector512.MultiplyAddEstimate(v, b1, s01);
            v = Vector512.Create(a[rowStride]);
            s10 = Vector512.MultiplyAddEstimate(v, b0, s10);
            s11 = Vector512.MultiplyAddEstimate(v, b1, s11);
            v = Vector512.Create(a[r2]);
            s20 = Vector512.MultiplyAddEstimate(v, b0, s20);
            s21 = Vector512.MultiplyAddEstimate(v, b1, s21);
            v = Vector512.Create(a[r3]);
            s30 = Vector512.MultiplyAddEstimate(v, b0, s30);
            s31 = Vector512.MultiplyAddEstimate(v, b1, s31);
            v = Vector512.Create(a[r4]);
            s40 = Vector512.MultiplyAddEstimate(v, b0, s40);
            s41 = Vector512.MultiplyAddEstimate(v, b1, s41);
            v = Vector512.Create(a[r5]);
            s50 = Vector512.MultiplyAddEstimate(v, b0, s50);
            s51 = Vector512.MultiplyAddEstimate(v, b1, s51);
            v = Vector512.Create(a[r6]);
            s60 = Vector512.MultiplyAddEstimate(v, b0, s60);
            s61 = Vector512.MultiplyAddEstimate(v, b1, s61);
            v = Vector512.Create(a[r7]);
            s70 = Vector512.MultiplyAddEstimate(v, b0, s70);
            s71 = Vector512.MultiplyAddEstimate(v, b1, s71);
            a += depthStride;
            b += PanelColumns;
        }

        s00.Store(c);
        s01.Store(c + 16);
        s10.Store(c1);
        s11.Store(c1 + 16);
        s20.Store(c2);
        s21.Store(c2 + 16);
        s30.Store(c3);
        s31.Store(c3 + 16);
        s40.Store(c4);
        s41.Store(c4 + 16);
        s50.Store(c5);
        s51.Store(c5 + 16);
        s60.Store(c6);
        s61.Store(c6 + 16);
        s70.Store(c7);
        s71.Store(c7 + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile4x16(float* a, nint rowStride, nint depthStride, float* b, int depth, float* c, nint stride)
    {
        float* c1 = c + stride, c2 = c1 + stride, c3 = c2 + stride;
        Vector256<float> s00 = Vector256.Load(c), s01 = Vector256.Load(c + 8), s10 = Vector256.Load(c1), s11 = Vector256.Load(c1 + 8);
        Vector256<float> s20 = Vector256.Load(c2), s21 = Vector256.Load(c2 + 8), s30 = Vector256.Load(c3), s31 = Vector256.Load(c3 + 8);
        for (int k = 0; k < depth; k++)
        {
            Vector256<float> b0 = Vector256.Load(b), b1 = Vector256.Load(b + 8);
            Vector256<float> v = Vector256.Create(*a);
            s00 = Vector256.MultiplyAddEstimate(v, b0, s00);
            s01 = Vector256.MultiplyAddEstimate(v, b1, s01);
            v = Vector256.Create(a[rowStride]);
            s10 = Vector256.MultiplyAddEstimate(v, b0, s10);
            s11 = Vector256.MultiplyAddEstimate(v, b1, s11);
            v = Vector256.Create(a[2 * rowStride]);
            s20 = Vector256.MultiplyAddEstimate(v, b0, s20);
            s21 = Vector256.MultiplyAddEstimate(v, b1, s21);
            v = Vector256.Create(a[3 * rowStride]);
            s30 = Vector256.MultiplyAddEstimate(v, b0, s30);
            s31 = Vector256.MultiplyAddEstimate(v, b1, s31);
            a += depthStride;
            b += PanelColumns;
        }

        s00.Store(c);
        s01.Store(c + 8);
        s10.Store(c1);
        s11.Store(c1 + 8);
        s20.Store(c2);
        s21.Store(c2 + 8);
        s30.Store(c3);
        s31.Store(c3 + 8);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile1x32(float* a, nint depthStride, float* b, int depth, float* c)
    {
        Vector256<float> s0 = Vector256.Load(c), s1 = Vector256.Load(c + 8), s2 = Vector256.Load(c + 16), s3 = Vector256.Load(c + 24);
        for (int k = 0; k < depth; k++)
        {
            Vector256<float> v = Vector256.Create(*a);
            s0 = Vector256.MultiplyAddEstimate(v, Vector256.Load(b), s0);
            s1 = Vector256.MultiplyAddEstimate(v, Vector256.Load(b + 8), s1);
            s2 = Vector256.MultiplyAddEstimate(v, Vector256.Load(b + 16), s2);
            s3 = Vector256.MultiplyAddEstimate(v, Vector256.Load(b + 24), s3);
            a += depthStride;
            b += PanelColumns;
        }

        s0.Store(c);
        s1.Store(c + 8);
        s2.Store(c + 16);
        s3.Store(c + 24);
    }
}
