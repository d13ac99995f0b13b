using Nibble.Core.Formats;
using Nibble.Core.Memory;
using Nibble.Cpu.Caching;
using Nibble.Cpu.Kernels;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Tests;

/// <summary>The packed order of weights: what it keeps, that its integer sums are exact, and that its kernels stay within their memory.</summary>
public unsafe class PackedTests
{
    /// <summary>Every path that runs here with every format that has a packed order there.</summary>
    public static TheoryData<string, string> Kernels() => Cases(_ => true);

    /// <summary>Those whose weights are codes.</summary>
    public static TheoryData<string, string> CodeKernels() => Cases(kernel => kernel.Kind != CodeKind.Floats);

    [Fact]
    public void Every_format_but_F32_and_NVFP4_has_a_packed_order_on_every_path()
    {
        string[] formats = [.. BlockFormats.All.Select(format => format.Name).Where(name => name is not ("F32" or "NVFP4")).Order(StringComparer.Ordinal)];
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
            Assert.Equal(formats, PackedKernels.Of(path.Name).Select(kernel => kernel.Format.Name).Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Unpacked_values_are_those_of_the_format(string path, string name)
    {
        BlockKernel kernel = Kernel(path, name);
        BlockFormat format = kernel.Format;
        const int Rows = 13, Blocks = 3;
        int columns = Blocks * kernel.TileColumns, runs = columns / 32;
        using TestWeights source = new(format, Rows, columns, 7);
        using NativeBuffer tiles = new((long)Blocks * kernel.TileBytes), panel = new((long)runs * kernel.PanelRunBytes);
        Assert.True(Pack(kernel, source.Bytes, Rows, Blocks, tiles.Pointer));
        kernel.Unpack(tiles.Pointer, Blocks, panel.Pointer);
        float[] expected = new float[columns];
        for (int row = 0; row < Rows; row++)
        {
            format.Decode(source.Bytes.Slice(row * (int)format.RowBytes(columns), (int)format.RowBytes(columns)), expected);
            for (int c = 0; c < columns; c++)
                Assert.Equal(expected[c], kernel.Factor * Heads.TokenFactor * Value(kernel, panel.Pointer + ((long)(c / 32) * kernel.PanelRunBytes), row, c % 32), Math.Max(1e-6, Math.Abs(expected[c]) * 1e-5));
        }
    }

    [Theory]
    [MemberData(nameof(CodeKernels))]
    public void Integer_sums_are_exact_for_the_largest_codes(string path, string name)
    {
        // Scales of 1 and sums below 2^24: float32 sums of them are exact, and any saturation shows.
        BlockKernel kernel = Kernel(path, name);
        int largest = kernel.Kind switch { CodeKind.Nibbles => 15, CodeKind.FiveBits => 31, CodeKind.Bytes => 255, _ => 63 };
        Random random = new(11);
        foreach (int width in (int[])[4, 8])
        {
            for (int run = 0; run < 20; run++)
            {
                using NativeBuffer panel = new(PanelLayout.Bytes), tokens = new(width * TokenTiles.RunBytes), results = new(width * 16 * 4);
                byte* codes = panel.Pointer;
                for (int i = 0; i < 512; i++)
                    codes[i] = (byte)(run == 0 || random.Next(2) == 0 ? largest : random.Next(largest + 1));
                short[] scales = [.. Enumerable.Range(0, 32).Select(_ => (short)(run == 0 ? 31 : random.Next(-31, 32)))], minima = [.. scales.Select(scale => (short)(-2 * scale))];
                for (int row = 0; row < 16; row++)
                {
                    ((float*)(codes + PanelLayout.Scales))[row] = 1;
                    for (int half = 0; half < 2; half++)
                    {
                        ((short*)(codes + PanelLayout.GroupScales))[(32 * half) + (2 * row)] = ((short*)(codes + PanelLayout.GroupScales))[(32 * half) + (2 * row) + 1] = scales[(16 * half) + row];
                        ((short*)(codes + PanelLayout.GroupMinima))[(2 * row) + half] = minima[(16 * half) + row];
                    }
                }

                // Codes as numbers of which the largest magnitude is 127: the scale is 1.
                float[] x = new float[width * 32];
                for (int token = 0; token < width; token++)
                {
                    for (int c = 0; c < 32; c++)
                        x[(32 * token) + c] = (run == 0 || c == 0 ? 127 : run == 1 ? -127 : random.Next(2) == 0 ? 127 : random.Next(-127, 128)) / Heads.TokenFactor;
                    fixed (float* own = &x[32 * token])
                        TokenTiles.PutCodes(own, 32, tokens.Pointer, width, token, 0);
                }

                kernel.Add(codes, tokens.Pointer, width, 1, (float*)results.Pointer);
                for (int token = 0; token < width; token++)
                {
                    for (int row = 0; row < 16; row++)
                    {
                        long sum = 0;
                        for (int c = 0; c < 32; c++)
                        {
                            int code = codes[(64 * (c / 4)) + (4 * row) + (c % 4)] - Middle(kernel), group = (16 * (c / 16)) + row;
                            // A tile's float minimum is 0 here, and it takes the whole minima with it.
                            int factor = kernel.Kind != CodeKind.Groups ? code : (code * scales[group]) + (kernel.HasMinimum ? 0 : minima[group]);
                            sum += factor * (long)(x[(32 * token) + c] * Heads.TokenFactor);
                        }

                        Assert.Equal(sum, (double)((float*)results.Pointer)[(16 * token) + row]);
                    }
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void Kernels_touch_nothing_beside_weights_activations_and_outputs(string path, string name)
    {
        BlockKernel kernel = Kernel(path, name);
        BlockFormat format = kernel.Format;
        byte** addresses = stackalloc byte*[16];
        foreach (GuardSide side in new[] { GuardSide.Start, GuardSide.End })
        {
            foreach ((int rows, int tokens, int blocks) in new[] { (1, 1, 1), (5, 3, 3), (16, 9, 2), (18, 2, 1), (33, 4, 1), (18, 7, 1), (33, 1, 2), (100, 1, 1), (20, 0, 1) })
            {
                int columns = blocks * kernel.TileColumns, rowTiles = (rows + 15) / 16;
                using TestWeights source = new(format, rows, columns, 5);
                using GuardedMemory<byte> weights = new(source.Bytes, side), tiles = new(rowTiles * blocks * kernel.TileBytes, side);
                for (int tile = 0; tile < rowTiles; tile++)
                {
                    for (int row = 0; row < 16; row++)
                        addresses[row] = (tile * 16) + row < rows ? weights.Pointer + (((tile * 16) + row) * format.RowBytes(columns)) : null;
                    Assert.True(kernel.Pack(addresses, blocks, tiles.Pointer + (tile * blocks * kernel.TileBytes)));
                }

                Assert.All(GuardedProduct.Of(kernel, tiles.Pointer, rows, columns, tokens, side), value => Assert.True(value != 0 && float.IsFinite(value)));
            }
        }
    }

    [Fact]
    public void All_paths_give_the_same_bits_so_that_any_of_them_may_be_chosen()
    {
        string[] paths = [.. CpuPaths.All.Where(path => path.IsSupported).Select(path => path.Name)];
        if (paths.Length < 2) Assert.Skip("there is one such path here");
        foreach (BlockKernel kernel in PackedKernels.Of(paths[0]))
        {
            const int Rows = 35, Tokens = 11;
            int columns = 2 * kernel.TileColumns;
            using TestWeights source = new(kernel.Format, Rows, columns, 5);
            float[] x = Values.Random(new Random(6), Tokens * columns);
            float[][] products = [.. paths.Append(null).Select(path =>
            {
                using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 1 });
                using Core.Compute.Weight weight = backend.Upload(source);
                return Multiply(backend, weight, x, Tokens, Rows);
            })];
            Assert.All(products, product => Assert.Equal(products[0], product));
        }
    }

    [Theory]
    [MemberData(nameof(Kernels))]
    public void A_token_has_the_same_products_alone_and_among_others_whatever_chunks_there_are(string path, string name)
    {
        // More columns, rows and tokens than a chunk has, and a rest of each.
        BlockFormat format = BlockFormats.Find(name)!;
        const int Rows = 83, Tokens = 517;
        int columns = format.BlockValues == 256 ? 1280 : 1120;
        using TestWeights source = new(format, Rows, columns, 5);
        float[] x = Values.Random(new Random(6), Tokens * columns);
        using CpuBackend backend = new(new CpuOptions { Path = path, Threads = 2 });
        using Core.Compute.Weight weight = backend.Upload(source);
        foreach (int tokens in (int[])[2, 3, 4, 11, 257, Tokens])
        {
            float[] together = Multiply(backend, weight, x.AsSpan(0, tokens * columns), tokens, Rows);
            foreach (int token in new[] { 0, 1, 2, 3, 6, 9, 10, 255, 256, 511, 512, Tokens - 1 }.Where(token => token < tokens))
                Assert.Equal(Multiply(backend, weight, x.AsSpan(token * columns, columns), 1, Rows), together.AsSpan(token * Rows, Rows).ToArray());
        }
    }

    /// <summary>Hashes of what version 1 of the layout makes of the same weights: no expectation of how they should lie, only that they still lie so.</summary>
    public static TheoryData<string, ulong> Layouts => new()
    {
        { "Q4_0", 0x5377420E46C23E7D },
        { "Q4_1", 0x0271792F09643B99 },
        { "Q5_0", 0xF0BAC86A5656CAD0 },
        { "Q5_1", 0xC46661BC534230DA },
        { "Q8_0", 0xF6768DFC4A95D3CA },
        { "Q2_K", 0x72ACBF205482049F },
        { "Q3_K", 0x72C82D05A2B99428 },
        { "Q4_K", 0xBA4CBD5FA4DF680E },
        { "Q5_K", 0xBB18E3AA40B48900 },
        { "Q6_K", 0x86B3B6B1D1D51BAB },
        { "IQ4_NL", 0x5377420E46C23E7D },
        { "IQ4_XS", 0xC24BAF6BB637374D },
        { "F16", 0x0199AFA08FEB55E9 },
        { "BF16", 0x3C52DA6E3CD8FD42 },
        { "TQ1_0", 0x1ED02A8BFD17D946 },
        { "TQ2_0", 0x8DAFF33A243CF771 },
        { "MXFP4", 0x8DAB4A92BAE72B4C },
    };

    [Theory]
    [MemberData(nameof(Layouts))]
    public void The_packed_order_is_the_same_on_every_path_and_that_of_the_layout_version(string name, ulong expected)
    {
        Assert.Equal(1, PackedFile.LayoutVersion);
        BlockFormat format = BlockFormats.Find(name)!;
        const int Rows = 13, Blocks = 3;
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
        {
            BlockKernel kernel = Kernel(path.Name, name);
            int columns = Blocks * kernel.TileColumns;
            using TestWeights source = new(format, Rows, columns, 7);
            byte[] tiles = new byte[Blocks * kernel.TileBytes];
            fixed (byte* first = tiles)
                Assert.True(Pack(kernel, source.Bytes, Rows, Blocks, first));
            ulong hash = Xxh64.Hash(tiles);
            Assert.True(
                expected == hash,
                $"{name} packed on path {path.Name} has the hash 0x{hash:X16}, not 0x{expected:X16}. If the order of packed weights was changed, PackedFile.LayoutVersion must be, too, so that files that lie beside models are written anew; then change the hashes here.");
        }
    }

    [Fact]
    public void The_layout_version_covers_every_packed_format() =>
        Assert.Equal(PackedKernels.Of("vector128").Select(kernel => kernel.Format.Name).Order(StringComparer.Ordinal), Layouts.Select(row => row.Data.Item1).Order(StringComparer.Ordinal));

    [Theory]
    [InlineData(0x7C00)]
    [InlineData(0x7E00)]
    [InlineData(0x5400)]
    public void Scales_of_64_and_more_have_no_place(int bits)
    {
        BlockKernel kernel = PackedKernels.Find(PackedKernels.Of("vector128"), BlockFormats.Q8_0)!;
        using TestWeights source = new(BlockFormats.Q8_0, 16, 32, 3);
        BitConverter.TryWriteBytes(source.Bytes[(5 * 34)..], (ushort)bits);
        using NativeBuffer tiles = new(kernel.TileBytes);
        Assert.False(Pack(kernel, source.Bytes, 16, 1, tiles.Pointer));
    }

    [Theory]
    [InlineData("F16", 0x53FF, true)]
    [InlineData("F16", 0x0001, true)]
    [InlineData("F16", 0x5400, false)]
    [InlineData("F16", 0xFC00, false)]
    [InlineData("BF16", 0x4F7F, true)]
    [InlineData("BF16", 0x4F80, false)]
    [InlineData("BF16", 0x7FC0, false)]
    public void Floats_that_activations_would_carry_away_have_no_place(string name, int bits, bool fits)
    {
        BlockKernel kernel = Kernel("vector128", name);
        using TestWeights source = new(kernel.Format, 16, 32, 3);
        BitConverter.TryWriteBytes(source.Bytes[(9 * 64)..], (ushort)bits);
        using NativeBuffer tiles = new(kernel.TileBytes);
        Assert.Equal(fits, Pack(kernel, source.Bytes, 16, 1, tiles.Pointer));
    }

    private static float[] Multiply(CpuBackend backend, Core.Compute.Weight weight, ReadOnlySpan<float> x, int tokens, int rows)
    {
        Core.Compute.Tensor input = backend.Allocate(Core.Compute.ElementType.Float32, tokens, x.Length / tokens), output = backend.Allocate(Core.Compute.ElementType.Float32, tokens, rows);
        backend.Write(x, input);
        backend.MatMul(input, weight, output);
        float[] y = new float[tokens * rows];
        backend.Read(output, y);
        GC.KeepAlive(input.Buffer);
        return y;
    }

    private static TheoryData<string, string> Cases(Func<BlockKernel, bool> choose)
    {
        TheoryData<string, string> cases = [];
        foreach (CpuPath path in CpuPaths.All.Where(path => path.IsSupported))
            foreach (BlockKernel kernel in PackedKernels.Of(path.Name).Where(choose)) cases.Add(path.Name, kernel.Format.Name);
        return cases;
    }

    private static BlockKernel Kernel(string path, string format) => PackedKernels.Find(PackedKernels.Of(path), BlockFormats.Find(format)!)!;

    private static bool Pack(BlockKernel kernel, Span<byte> bytes, int rows, int blocks, byte* tiles)
    {
        byte** addresses = stackalloc byte*[16];
        fixed (byte* first = bytes)
        {
            for (int row = 0; row < 16; row++)
                addresses[row] = row < rows ? first + (row * kernel.Format.RowBytes(blocks * kernel.TileColumns)) : null;
            return kernel.Pack(addresses, blocks, tiles);
        }
    }

    // What codes are less by.
    private static int Middle(PackedKernel kernel) => kernel.Kind switch { CodeKind.Bytes => 128, CodeKind.Nibbles when !kernel.HasMinimum => 8, CodeKind.FiveBits when !kernel.HasMinimum => 16, _ => 0 };

    private static float Value(BlockKernel kernel, byte* panel, int row, int column)
    {
        if (kernel.Kind == CodeKind.Floats) return ((float*)panel)[(16 * column) + row];
        int code = panel[(64 * (column / 4)) + (4 * row) + (column % 4)];
        float scale = ((float*)(panel + PanelLayout.Scales))[row], minimum = ((float*)(panel + PanelLayout.Minima))[row];
        if (kernel.Kind != CodeKind.Groups) return (scale * (code - Middle(kernel))) + (kernel.HasMinimum ? minimum : 0);
        int half = column / 16;
        int whole = ((short*)(panel + PanelLayout.GroupScales))[(32 * half) + (2 * row)], wholeMinimum = ((short*)(panel + PanelLayout.GroupMinima))[(2 * row) + half];
        return (scale * whole * code) + ((kernel.HasMinimum ? minimum : scale) * wholeMinimum);
    }
}
