using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Kernels;

/// <summary>Decodes the keys or values of one KV head at a tile's positions to float32, with the bits of <see cref="BlockFormat.Decode"/>.</summary>
internal static unsafe class KvTiles<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    private const int Tile = AttentionArguments.TilePositions;

    // What a float32 with the bits of a half (Bits.HalfInFloat) is too small by: 2^112.
    private const float HalfScale = 5.192297e33f;

    /// <summary>Decodes keys to columns.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="head">KV head.</param>
    /// <param name="start">The tile's first position.</param>
    /// <param name="from">The first position that somebody sees, counted from there; those before it become 0.</param>
    /// <param name="to">The position behind the last one; it and those behind it become 0.</param>
    /// <param name="rows">[<see cref="AttentionArguments.RowBytes"/>] scratch.</param>
    /// <param name="keys">[padded key x tile], overwritten.</param>
    public static void Keys(in AttentionArguments arguments, int head, int start, int from, int to, byte* rows, float* keys)
    {
        int size = arguments.Layer.KeySize, bytes = (int)arguments.Format.RowBytes(size);
        nint stride = (nint)arguments.KeyBytes;
        byte* source = arguments.Keys + ((long)head * bytes);
        if (IsWhole(in arguments, start, from, to) && (bytes % 16 == 0 || arguments.Format.BlockValues == 32))
        {
            source += start % arguments.Rows * arguments.KeyBytes;
        }
        else
        {
            Gather(in arguments, source, arguments.KeyBytes, bytes, start, from, to, rows);
            source = rows;
            stride = Stride(bytes);
        }

        if (ReferenceEquals(arguments.Format, BlockFormats.Q8_0))
        {
            KeysOfQ8(source, stride, size, Scales(in arguments, rows), keys);
        }
        else if (ReferenceEquals(arguments.Format, BlockFormats.Q4_0))
        {
            KeysOfQ4(source, stride, size, Scales(in arguments, rows), keys);
        }
        else if (ReferenceEquals(arguments.Format, BlockFormats.F16) && IsFinite(source, stride, bytes))
        {
            KeysOfHalves(source, stride, size, keys);
        }
        else
        {
            if (ReferenceEquals(arguments.Format, BlockFormats.F16)) Decode(source, stride, size, rows, out source, out stride);
            KeysOfFloats(source, stride, size, keys);
        }
    }

    /// <summary>Decodes values to rows.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="head">KV head.</param>
    /// <param name="start">The tile's first position.</param>
    /// <param name="from">The first position that somebody sees, counted from there; those before it become 0.</param>
    /// <param name="to">The position behind the last one; it and those behind it become 0.</param>
    /// <param name="rows">[<see cref="AttentionArguments.RowBytes"/>] scratch.</param>
    /// <param name="values">[tile x padded value], overwritten.</param>
    public static void Values(in AttentionArguments arguments, int head, int start, int from, int to, byte* rows, float* values)
    {
        int size = arguments.Layer.ValueSize, bytes = (int)arguments.Format.RowBytes(size), padded = arguments.PaddedValue;
        nint stride = (nint)arguments.ValueBytes;
        byte* source = arguments.Values + ((long)head * bytes);
        if (IsWhole(in arguments, start, from, to) && size % 16 == 0)
        {
            source += start % arguments.Rows * arguments.ValueBytes;
        }
        else
        {
            Gather(in arguments, source, arguments.ValueBytes, bytes, start, from, to, rows);
            source = rows;
            stride = Stride(bytes);
        }

        if (ReferenceEquals(arguments.Format, BlockFormats.Q8_0))
        {
            ValuesOfQ8(source, stride, size, Scales(in arguments, rows), values, padded);
        }
        else if (ReferenceEquals(arguments.Format, BlockFormats.Q4_0))
        {
            ValuesOfQ4(source, stride, size, Scales(in arguments, rows), values, padded);
        }
        else if (ReferenceEquals(arguments.Format, BlockFormats.F16) && IsFinite(source, stride, (bytes + 15) & -16))
        {
            ValuesOfHalves(source, stride, size, values, padded);
        }
        else
        {
            if (ReferenceEquals(arguments.Format, BlockFormats.F16)) Decode(source, stride, size, rows, out source, out stride);
            ValuesOfFloats(source, stride, size, values, padded);
        }

        int filled = (size + TLanes.Count - 1) & -TLanes.Count;
        if (filled == padded) return;
        for (int p = 0; p < Tile; p++)
            new Span<float>(values + (p * padded) + filled, padded - filled).Clear();
    }

    /// <summary>Asks for rows of codes that are decoded later; they are too short for the processor to see that they follow one another.</summary>
    /// <remarks>
    /// Single tokens of the 1.1B model at 4096 positions of Q8_0 on two threads of a Zen 5 machine: 52.7 a second instead of 44.6, and 49.8 instead of 47.6 another time. With F16, whose rows are read in their order first (<see cref="IsFinite"/>), 49 instead of 52.
    /// </remarks>
    /// <param name="arguments">The operation.</param>
    /// <param name="head">The first KV head.</param>
    /// <param name="heads">KV heads.</param>
    /// <param name="start">The first position of their tile.</param>
    /// <param name="from">The first position, counted from there.</param>
    /// <param name="to">The position behind the last one.</param>
    public static void AskFor(in AttentionArguments arguments, int head, int heads, int start, int from, int to)
    {
        if (arguments.Format.BlockValues == 1) return;
        int keyBytes = (int)arguments.Format.RowBytes(arguments.Layer.KeySize), valueBytes = (int)arguments.Format.RowBytes(arguments.Layer.ValueSize);
        for (int p = from; p < to; p++)
        {
            long row = (start + p) % arguments.Rows;
            ReadAhead.Whole(arguments.Keys + (row * arguments.KeyBytes) + ((long)head * keyBytes), heads * keyBytes);
            ReadAhead.Whole(arguments.Values + (row * arguments.ValueBytes) + ((long)head * valueBytes), heads * valueBytes);
        }
    }

    // Rows that were gathered or decoded: whole cache lines.
    private static nint Stride(int bytes) => (bytes + 63) & -64;

    // [1.5 x tile] behind the rows.
    private static float* Scales(in AttentionArguments arguments, byte* rows) => (float*)(rows + arguments.RowBytes) - (3 * Tile / 2);

    // Whether the tile is seen from end to end and lies in one piece.
    private static bool IsWhole(in AttentionArguments arguments, int start, int from, int to) => from == 0 && to == Tile && (start % arguments.Rows) + Tile <= arguments.Rows;

    private static void Gather(in AttentionArguments arguments, byte* source, long rowBytes, int bytes, int start, int from, int to, byte* rows)
    {
        nint stride = Stride(bytes);
        new Span<byte>(rows, Tile * (int)stride).Clear();
        for (int p = from; p < to; p++)
            new ReadOnlySpan<byte>(source + ((start + p) % arguments.Rows * rowBytes), bytes).CopyTo(new Span<byte>(rows + (p * stride), bytes));
    }

    // Halves with infinities or NaN among them, one after the other. The rows may be those that were gathered, so they are widened from the last to the first.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Decode(byte* source, nint stride, int size, byte* rows, out byte* decoded, out nint decodedStride)
    {
        decoded = rows;
        decodedStride = Stride(4 * size);
        for (int p = Tile - 1; p >= 0; p--)
        {
            float* row = (float*)(rows + (p * decodedStride));
            byte* halves = source + (p * stride);
            for (int i = (int)(decodedStride / 4) - 1; i >= 0; i--)
                row[i] = i < size ? Bits.HalfAt(halves + (2 * i)) : 0;
        }
    }

    // Whether no half has the exponent of infinity and NaN. It also reads the tile in its order, from which the decoding after it gains: knowing the answer beforehand (a flag of the cache) made single tokens
    // of SmolLM2 at 4096 positions 0.88 times as fast, on two threads of a Sapphire Rapids machine.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static bool IsFinite(byte* rows, nint stride, int bytes, int count = Tile)
    {
        nint step = 4 * TLanes.Count, whole = bytes & -step;
        TVector mask = TLanes.BroadcastBits(0x7FFF_7FFF), most = TLanes.Zero, more = TLanes.Zero;
        Vector128<float> rest = Vector128<float>.Zero;
        for (int p = 0; p < count; p += 2, rows += 2 * stride)
        {
            for (nint i = 0; i < whole; i += step)
            {
                most = TLanes.MaxShorts(most, TLanes.And(mask, TLanes.Load((float*)(rows + i))));
                more = TLanes.MaxShorts(more, TLanes.And(mask, TLanes.Load((float*)(rows + stride + i))));
            }

            for (nint i = whole; i < bytes; i += 16)
            {
                Vector128<float> low = Vector128.Load((float*)(rows + i)), high = Vector128.Load((float*)(rows + stride + i)), sign = Vector128.Create(0x7FFF_7FFFu).AsSingle();
                rest = Lanes128.MaxShorts(rest, Lanes128.MaxShorts(low & sign, high & sign));
            }
        }

        most = TLanes.MaxShorts(most, more);
        return !TLanes.AnyShortAbove(most, TLanes.BroadcastBits(0x7BFF_7BFF)) && !Lanes128.AnyShortAbove(rest, Vector128.Create(0x7BFF_7BFFu).AsSingle());
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void KeysOfFloats(byte* rows, nint stride, int size, float* keys)
    {
        for (nint k = 0; k < size; k += 4, rows += 16, keys += 4 * Tile)
        {
            for (nint p = 0; p < Tile; p += TLanes.Count)
            {
                TLanes.Columns(rows + (p * stride), stride, out TVector a, out TVector b, out TVector c, out TVector d);
                TLanes.Store(a, keys + p);
                TLanes.Store(b, keys + Tile + p);
                TLanes.Store(c, keys + (2 * Tile) + p);
                TLanes.Store(d, keys + (3 * Tile) + p);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void KeysOfHalves(byte* rows, nint stride, int size, float* keys)
    {
        TVector mask = TLanes.BroadcastBits(Bits.HalfInFloat), scale = TLanes.Broadcast(HalfScale);
        for (nint k = 0; k < size; k += 8, rows += 16, keys += 8 * Tile)
        {
            for (nint p = 0; p < Tile; p += TLanes.Count)
            {
                TLanes.Columns(rows + (p * stride), stride, out TVector a, out TVector b, out TVector c, out TVector d);
                Halves(a, mask, scale, keys + p);
                Halves(b, mask, scale, keys + (2 * Tile) + p);
                Halves(c, mask, scale, keys + (4 * Tile) + p);
                Halves(d, mask, scale, keys + (6 * Tile) + p);
            }
        }
    }

    // The lower and the upper half of each lane.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Halves(TVector pair, TVector mask, TVector scale, float* keys)
    {
        TVector low = TLanes.And(TLanes.ShiftRight(TLanes.ShiftLeft(pair, 16), 3), mask), high = TLanes.And(TLanes.ShiftRight(pair, 3), mask);
        TLanes.Store(TLanes.Multiply(low, scale), keys);
        TLanes.Store(TLanes.Multiply(high, scale), keys + Tile);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void KeysOfQ8(byte* rows, nint stride, int size, float* scales, float* keys)
    {
        for (nint k = 0; k < size; k += 32, rows += 34, keys += 32 * Tile)
        {
            Scales(rows, stride, scales);
            for (nint i = 0; i < 32; i += 16)
            {
                for (nint p = 0; p < Tile; p += TLanes.Count)
                {
                    TVector scale = TLanes.Load(scales + p);
                    TLanes.Columns(rows + 2 + i + (p * stride), stride, out TVector a, out TVector b, out TVector c, out TVector d);
                    float* column = keys + (i * Tile) + p;
                    Bytes(a, scale, column);
                    Bytes(b, scale, column + (4 * Tile));
                    Bytes(c, scale, column + (8 * Tile));
                    Bytes(d, scale, column + (12 * Tile));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void KeysOfQ4(byte* rows, nint stride, int size, float* scales, float* keys)
    {
        for (nint k = 0; k < size; k += 32, rows += 18, keys += 32 * Tile)
        {
            Scales(rows, stride, scales);
            for (nint p = 0; p < Tile; p += TLanes.Count)
            {
                TVector scale = TLanes.Load(scales + p);
                TLanes.Columns(rows + 2 + (p * stride), stride, out TVector a, out TVector b, out TVector c, out TVector d);
                Nibbles(a, scale, keys + p);
                Nibbles(b, scale, keys + (4 * Tile) + p);
                Nibbles(c, scale, keys + (8 * Tile) + p);
                Nibbles(d, scale, keys + (12 * Tile) + p);
            }
        }
    }

    // The low nibbles of each lane's four bytes, and 16 values further the high ones.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Nibbles(TVector four, TVector scale, float* keys)
    {
        for (int i = 0; i < 4; i++)
        {
            TLanes.Store(Nibble(TLanes.ShiftRight(four, 8 * i), scale), keys + (i * Tile));
            TLanes.Store(Nibble(TLanes.ShiftRight(four, (8 * i) + 4), scale), keys + ((16 + i) * Tile));
        }
    }

    // The lowest 4 bits of each lane, less 8, times the scale.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Nibble(TVector bits, TVector scale) =>
        TLanes.Multiply(TLanes.Subtract(TLanes.ToFloat(TLanes.And(bits, TLanes.BroadcastBits(15))), TLanes.Broadcast(8f)), scale);

    // The four bytes of each lane.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Bytes(TVector four, TVector scale, float* keys)
    {
        TLanes.Store(TLanes.Multiply(TLanes.ToFloat(TLanes.ShiftRight(TLanes.ShiftLeft(four, 24), 24)), scale), keys);
        TLanes.Store(TLanes.Multiply(TLanes.ToFloat(TLanes.ShiftRight(TLanes.ShiftLeft(four, 16), 24)), scale), keys + Tile);
        TLanes.Store(TLanes.Multiply(TLanes.ToFloat(TLanes.ShiftRight(TLanes.ShiftLeft(four, 8), 24)), scale), keys + (2 * Tile));
        TLanes.Store(TLanes.Multiply(TLanes.ToFloat(TLanes.ShiftRight(four, 24)), scale), keys + (3 * Tile));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ValuesOfFloats(byte* rows, nint stride, int size, float* values, int padded)
    {
        for (int p = 0; p < Tile; p++, rows += stride, values += padded)
            for (nint i = 0; i < size; i += TLanes.Count)
                TLanes.Store(TLanes.Load((float*)rows + i), values + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ValuesOfHalves(byte* rows, nint stride, int size, float* values, int padded)
    {
        TVector mask = TLanes.BroadcastBits(Bits.HalfInFloat), scale = TLanes.Broadcast(HalfScale);
        for (int p = 0; p < Tile; p++, rows += stride, values += padded)
            for (nint i = 0; i < size; i += TLanes.Count)
                TLanes.Store(TLanes.Multiply(TLanes.And(TLanes.ShiftLeft(TLanes.LoadShorts((short*)rows + i), 13), mask), scale), values + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ValuesOfQ8(byte* rows, nint stride, int size, float* scales, float* values, int padded)
    {
        for (nint k = 0; k < size; k += 32, rows += 34, values += 32)
        {
            Scales(rows, stride, scales);
            byte* block = rows + 2;
            float* line = values;
            for (nint p = 0; p < Tile; p++, block += stride, line += padded)
            {
                TVector scale = TLanes.Broadcast(scales[p]);
                for (nint i = 0; i < 32; i += TLanes.Count)
                    TLanes.Store(TLanes.Multiply(TLanes.ToFloat(TLanes.LoadBytes((sbyte*)block + i)), scale), line + i);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ValuesOfQ4(byte* rows, nint stride, int size, float* scales, float* values, int padded)
    {
        for (nint k = 0; k < size; k += 32, rows += 18, values += 32)
        {
            Scales(rows, stride, scales);
            byte* block = rows + 2;
            float* line = values;
            for (nint p = 0; p < Tile; p++, block += stride, line += padded)
            {
                TVector scale = TLanes.Broadcast(scales[p]);
                for (nint i = 0; i < 16; i += TLanes.Count)
                {
                    TVector bytes = TLanes.LoadBytes((sbyte*)block + i);
                    TLanes.Store(Nibble(bytes, scale), line + i);
                    TLanes.Store(Nibble(TLanes.ShiftRight(bytes, 4), scale), line + 16 + i);
                }
            }
        }
    }

    // The scale of a block in each row, a half that comes first.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Scales(byte* rows, nint stride, float* scales)
    {
        ushort* halves = (ushort*)(scales + Tile);
        for (nint p = 0; p < Tile; p++, rows += stride)
            halves[p] = *(ushort*)rows;
        TVector mask = TLanes.BroadcastBits(Bits.HalfInFloat), scale = TLanes.Broadcast(HalfScale);
        for (nint p = 0; p < Tile; p += TLanes.Count)
            TLanes.Store(TLanes.Multiply(TLanes.And(TLanes.ShiftLeft(TLanes.LoadShorts((short*)halves + p), 13), mask), scale), scales + p);
        if (IsFinite((byte*)halves, Tile, Tile, 2)) return;
        for (nint p = 0; p < Tile; p++)
            scales[p] = Bits.HalfAt((byte*)(halves + p));
    }
}
