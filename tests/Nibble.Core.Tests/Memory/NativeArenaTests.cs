using Nibble.Core.Memory;
using Xunit;

namespace Nibble.Core.Tests.Memory;

public class NativeArenaTests
{
    [Fact]
    public void Buffers_do_not_overlap_and_are_aligned()
    {
        using NativeArena arena = new();
        List<NativeBuffer> buffers = [];
        try
        {
            // Together more than a block, one of them a block's half.
            long[] lengths = [1, 64, 65, 0, 3_000_001, 20_000_000, 30_000_000, 25_000_000, NativeArena.BlockBytes / 2, 7];
            foreach (long length in lengths)
            {
                NativeBuffer buffer = arena.Allocate(length);
                Assert.Equal(length, buffer.Length);
                Fill(buffer, buffers.Count + 1);
                buffers.Add(buffer);
            }

            for (int i = 0; i < buffers.Count; i++)
                Holds(buffers[i], i + 1);
        }
        finally
        {
            foreach (NativeBuffer buffer in buffers) buffer.Dispose();
        }
    }

    [Fact]
    public void A_buffer_outlives_the_arena_and_those_beside_it()
    {
        NativeBuffer kept;
        using (NativeArena arena = new())
        {
            using NativeBuffer first = arena.Allocate(1000);
            kept = arena.Allocate(1000);
            arena.Close();
            using NativeBuffer next = arena.Allocate(1000);
            Fill(first, 1);
            Fill(kept, 2);
            Fill(next, 3);
        }

        using (kept) Holds(kept, 2);
        Assert.Throws<ObjectDisposedException>(() => Length(kept));

        static unsafe long Length(NativeBuffer buffer) => (long)buffer.Pointer;
    }

    [Fact]
    public void A_negative_length_is_refused()
    {
        using NativeArena arena = new();
        Assert.Throws<ArgumentOutOfRangeException>(() => arena.Allocate(-1));
    }

    private static unsafe void Fill(NativeBuffer buffer, int value)
    {
        Assert.Equal(0, (nint)buffer.Pointer % NativeBuffer.Alignment);
        new Span<byte>(buffer.Pointer, (int)buffer.Length).Fill((byte)value);
    }

    private static unsafe void Holds(NativeBuffer buffer, int value) =>
        Assert.False(new ReadOnlySpan<byte>(buffer.Pointer, (int)buffer.Length).ContainsAnyExcept((byte)value));
}
