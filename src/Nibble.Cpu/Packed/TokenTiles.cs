using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Packed;

/// <summary>
/// Tokens' 8-bit activations as packed products read them: tiles of 1, 4 or 8 tokens, the run of 32 columns after run. A run of a tile of w tokens is [8 groups x w] groups of 4 codes, then a
/// field of w 32-bit numbers each: the float32 scale times <see cref="Heads.TokenFactor"/>, that times sum of the codes, the sums of each 16 codes (two 16-bit numbers), and -8 times the sum of the codes.
/// </summary>
internal static unsafe class TokenTiles
{
    // The bits of infinity, and of 2^-120.
    private const int Infinity = 0x7F800000, Least = 0x03800000;

    /// <summary>Bytes of a run, for each token of the tile.</summary>
    public const int RunBytes = 48;

    /// <summary>How wide the tile is that the next tokens of a product go into; places that are left stay zero.</summary>
    /// <param name="left">Tokens that are left.</param>
    /// <param name="areApart">Whether each token has a tile of its own.</param>
    public static int Width(int left, bool areApart) => areApart ? 1 : left <= 4 ? 4 : 8;

    /// <summary>Bytes of a run of float32 activations, times <see cref="Heads.TokenFactor"/>, for each token of the tile: [32 columns x w].</summary>
    public const int FloatRunBytes = 128;

    /// <summary>Places in the tiles of 4 and 8 tokens that some tokens are put into.</summary>
    public static int Places(int tokens) => (tokens / 8 * 8) + ((tokens % 8) switch { 0 => 0, <= 4 => 4, _ => 8 });

    /// <summary>Puts a token into a tile of float32 activations.</summary>
    /// <param name="x">[columns].</param>
    /// <param name="columns">Columns.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="width">Its width.</param>
    /// <param name="token">The place in it.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PutFloats(float* x, int columns, float* tile, int width, int token)
    {
        for (int c = 0; c < columns; c++)
            tile[(c * width) + token] = Heads.TokenFactor * x[c];
    }

    /// <summary>Puts four tokens into a tile of float32 activations.</summary>
    /// <param name="a">[columns] of the first token.</param>
    /// <param name="b">Of the second one.</param>
    /// <param name="c">Of the third one.</param>
    /// <param name="d">Of the fourth one.</param>
    /// <param name="columns">A multiple of 4.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="width">Its width.</param>
    /// <param name="token">The first one's place in it.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PutFloats(float* a, float* b, float* c, float* d, int columns, float* tile, int width, int token)
    {
        Vector128<float> factor = Vector128.Create(Heads.TokenFactor);
        tile += token;
        for (nint column = 0; column < columns; column += 4, tile += 4 * width)
        {
            Vector128<float> first = Vector128.Load(a + column), second = Vector128.Load(b + column), third = Vector128.Load(c + column), fourth = Vector128.Load(d + column);
            Lanes16.Transpose(ref first, ref second, ref third, ref fourth);
            (factor * first).Store(tile);
            (factor * second).Store(tile + width);
            (factor * third).Store(tile + (2 * width));
            (factor * fourth).Store(tile + (3 * width));
        }
    }

    /// <summary>
    /// Puts a token into a tile of 8-bit codes: x / scale to the nearest, ties to even, at most 127, where the scale of 32 columns is their largest magnitude / 127. 32 values of which one is NaN
    /// or infinite get codes 0 and a scale of NaN, so that every product with them is NaN; values below 2^-120 count as 0. Where the weight has a scale of its own for activations, all columns have that one.
    /// </summary>
    /// <param name="x">[columns].</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="width">Its width.</param>
    /// <param name="token">The place in it.</param>
    /// <param name="inputScale">The scale of all columns (<see cref="Nibble.Core.Compute.InputRounding"/>), or 0.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void PutCodes(float* x, int columns, byte* tile, int width, int token, float inputScale)
    {
        float inputInverse = 1 / inputScale;
        uint* codes = stackalloc uint[8];
        for (; columns > 0; columns -= 32, x += 32, tile += width * RunBytes)
        {
            Vector256<float> a = Vector256.Load(x), b = Vector256.Load(x + 8), c = Vector256.Load(x + 16), d = Vector256.Load(x + 24);
            int largest = Largest(Vector256.Max(Vector256.Max(Magnitude(a), Magnitude(b)), Vector256.Max(Magnitude(c), Magnitude(d))));
            float scale = largest < Infinity ? 0 : float.NaN;
            int low = 0, high = 0;
            if (inputScale != 0 && largest < Infinity)
            {
                scale = inputScale;
                Vector256<float> inverse = Vector256.Create(inputInverse);
                Vector256<int> e = Clipped(a * inverse), f = Clipped(b * inverse), g = Clipped(c * inverse), h = Clipped(d * inverse);
                Vector256.Narrow(Vector256.Narrow(e, f), Vector256.Narrow(g, h)).Store((sbyte*)codes);
                (low, high) = (Vector256.Sum(e + f), Vector256.Sum(g + h));
            }
            else if (largest is >= Least and < Infinity)
            {
                // 127 / magnitude times the magnitude is within two roundings of 127, so the nearest integer is at most 127.
                float magnitude = BitConverter.Int32BitsToSingle(largest);
                scale = magnitude / 127;
                Vector256<float> inverse = Vector256.Create(127 / magnitude);
                Vector256<int> e = Nearest(a * inverse), f = Nearest(b * inverse), g = Nearest(c * inverse), h = Nearest(d * inverse);
                Vector256.Narrow(Vector256.Narrow(e, f), Vector256.Narrow(g, h)).Store((sbyte*)codes);
                (low, high) = (Vector256.Sum(e + f), Vector256.Sum(g + h));
            }
            else
            {
                Vector256<uint>.Zero.Store(codes);
            }

            uint* to = (uint*)tile + token;
            for (int group = 0; group < 8; group++)
                to[group * width] = codes[group];
            to += 8 * width;
            scale *= Heads.TokenFactor;
            *(float*)to = scale;
            ((float*)to)[width] = scale * (low + high);
            to[2 * width] = (ushort)low | (uint)high << 16;
            ((int*)to)[3 * width] = -8 * (low + high);
        }
    }

    // The bits of a magnitude, which are in the order of the magnitudes; those of NaN come after infinity.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Magnitude(Vector256<float> x) => x.AsInt32() & Vector256.Create(int.MaxValue);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Largest(Vector256<int> values)
    {
        Vector128<int> four = Vector128.Max(values.GetLower(), values.GetUpper());
        four = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Clipped(Vector256<float> x) => Vector256.ConvertToInt32Native(InputRows.Nearest(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<int> Nearest(Vector256<float> x) => Vector256.ConvertToInt32Native(Vector256.Round(x));
}
