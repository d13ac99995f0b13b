using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Nibble.Core.Memory;
using Nibble.Cpu.Threading;

namespace Nibble.Cpu.Jobs;

/// <summary>Reads a buffer once, as fast as memory gives it: each part in several streams side by side, since one alone does not keep a core's line buffers full.</summary>
/// <param name="buffer">What is read.</param>
internal sealed unsafe class ReadJob(NativeBuffer buffer) : TeamJob
{
    /// <summary>Bytes of a part.</summary>
    public const int PartBytes = 2 << 20;

    private const int Streams = 4;
    private const int StreamBytes = PartBytes / Streams;

    // What a stream reads before the next one's turn, and how far ahead the processor is told of it.
    private const int StepBytes = 256;
    private const int AheadBytes = 1024;

    private ulong _sink;

    /// <summary>Something made of all bytes, so that no read can be left out.</summary>
    public ulong Sink => Volatile.Read(ref _sink);

    /// <inheritdoc/>
    public override void Run(int part, int parts, int thread)
    {
        Vector256<ulong> sum = Read(buffer.Pointer + ((long)part * PartBytes));
        Interlocked.Or(ref _sink, sum[0] | sum[1] | sum[2] | sum[3]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static Vector256<ulong> Read(byte* start)
    {
        Vector256<ulong> a = Vector256<ulong>.Zero, b = a, c = a, d = a;
        for (int offset = 0; offset < StreamBytes; offset += StepBytes)
            for (int stream = 0; stream < Streams; stream++)
            {
                byte* bytes = start + (stream * StreamBytes) + offset;
                if (Sse.IsSupported)
                    for (int line = 0; line < StepBytes; line += 64)
                        Sse.Prefetch0(bytes + AheadBytes + line);
                for (int line = 0; line < StepBytes; line += 128)
                {
                    a |= Vector256.Load((ulong*)(bytes + line));
                    b |= Vector256.Load((ulong*)(bytes + line + 32));
                    c |= Vector256.Load((ulong*)(bytes + line + 64));
                    d |= Vector256.Load((ulong*)(bytes + line + 96));
                }
            }

        return a | b | c | d;
    }
}
