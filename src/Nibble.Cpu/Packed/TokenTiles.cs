using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Nibble.Cpu.Kernels;

namespace Nibble.Cpu.Packed;

/// <summary>
/// Tokens' 8-bit activations as packed products read them: tiles of 1, 4 or 8 tokens, the run of 32 columns after run. A run of a tile of w tokens is [8 groups x w] groups of 4 codes, then a
/// field of w 32-bit numbers each: the float32 scale times <see cref="Heads.TokenFactor"/>, that times sum of the codes, the sums of each 16 codes (two 16-bit numbers), and -128 times the sum of the codes.
/// </summary>
internal static unsafe class TokenTiles
{
    /// <summary>Bytes of a run, for each token of the tile.</summary>
    public const int RunBytes = 48;

    /// <summary>How wide the tile is that the next tokens of a product go into; places that are left stay zero.</summary>
    /// <param name="left">Tokens that are left.</param>
    /// <param name="isAlone">Whether the whole product has one token.</param>
    public static int Width(int left, bool isAlone) => isAlone ? 1 : left <= 4 ? 4 : 8;

    /// <summary>Bytes of a run of float32 activations, times <see cref="Heads.TokenFactor"/>, for each token of the tile: [32 columns x w].</summary>
    public const int FloatRunBytes = 128;

    /// <summary>Places in the tiles of some tokens.</summary>
    public static int Places(int tokens) => tokens == 1 ? 1 : (tokens / 8 * 8) + ((tokens % 8) switch { 0 => 0, <= 4 => 4, _ => 8 });

    /// <summary>Puts a token into a tile of float32 activations.</summary>
    /// <param name="x">[columns].</param>
    /// <param name="columns">Columns.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="width">Its width.</param>
    /// <param name="token">The place in it.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Put(float* x, int columns, float* tile, int width, int token)
    {
        for (int c = 0; c < columns; c++)
            tile[(c * width) + token] = Heads.TokenFactor * x[c];
    }

    /// <summary>Puts a token into a tile.</summary>
    /// <param name="codes">[columns] of <see cref="ActivationCodes.Encode"/>.</param>
    /// <param name="scales">[columns / 32].</param>
    /// <param name="columns">A multiple of 32.</param>
    /// <param name="tile">The tile.</param>
    /// <param name="width">Its width.</param>
    /// <param name="token">The place in it.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Put(sbyte* codes, float* scales, int columns, byte* tile, int width, int token)
    {
        for (int run = 0; run < columns / 32; run++, codes += 32, tile += width * RunBytes)
        {
            uint* to = (uint*)tile + token, from = (uint*)codes;
            for (int group = 0; group < 8; group++)
                to[group * width] = from[group];
            (Vector128<short> a, Vector128<short> b) = Vector128.Widen(Vector128.Load(codes));
            (Vector128<short> c, Vector128<short> d) = Vector128.Widen(Vector128.Load(codes + 16));
            int low = Vector128.Sum(a + b), high = Vector128.Sum(c + d);
            float scale = scales[run] * Heads.TokenFactor;
            to += 8 * width;
            *(float*)to = scale;
            ((float*)to)[width] = scale * (low + high);
            to[2 * width] = (ushort)low | (uint)high << 16;
            ((int*)to)[3 * width] = -128 * (low + high);
        }
    }
}
