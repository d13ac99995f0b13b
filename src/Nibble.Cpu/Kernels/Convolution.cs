using System.Runtime.CompilerServices;

namespace Nibble.Cpu.Kernels;

/// <summary>One convolution.</summary>
internal unsafe struct ConvolutionArguments
{
    /// <summary>The first token's values.</summary>
    public float* X;

    /// <summary>Values from one token to the next.</summary>
    public long XStride;

    /// <summary>[<see cref="Taps"/> - 1 rows] before the first token, the oldest first; changed.</summary>
    public float* State;

    /// <summary>Values from one row of the state to the next.</summary>
    public long StateStride;

    /// <summary>[<see cref="Taps"/> x <see cref="Channels"/>].</summary>
    public float* Kernel;

    /// <summary>[<see cref="Channels"/>], or null.</summary>
    public float* Bias;

    /// <summary>The first token's output.</summary>
    public float* Y;

    /// <summary>Values from one token's output to the next.</summary>
    public long YStride;

    /// <summary>Tokens.</summary>
    public int Tokens;

    /// <summary>Rows that a token's output is made of.</summary>
    public int Taps;

    /// <summary>Columns.</summary>
    public int Channels;

    /// <summary>The values of a row, counted from the first token's; those before it are the state's.</summary>
    public readonly float* Row(int row) => row < 0 ? State + ((row + Taps - 1) * StateStride) : X + (row * XStride);
}

/// <summary>Causal convolution of channels. Each value adds its products from the oldest row to its own, then the bias.</summary>
internal static unsafe class Convolution<TLanes, TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    /// <summary>Computes one token's neighbouring channels.</summary>
    /// <param name="arguments">The operation.</param>
    /// <param name="token">Token.</param>
    /// <param name="first">First channel.</param>
    /// <param name="count">Channels.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in ConvolutionArguments arguments, int token, int first, int count)
    {
        float* y = arguments.Y + (token * arguments.YStride) + first;
        int oldest = token + 1 - arguments.Taps, i = 0;
        for (; i <= count - TLanes.Count; i += TLanes.Count)
        {
            TVector sum = TLanes.Zero;
            for (int j = 0; j < arguments.Taps; j++)
                sum = TLanes.MultiplyAdd(TLanes.Load(arguments.Kernel + ((long)j * arguments.Channels) + first + i), TLanes.Load(arguments.Row(oldest + j) + first + i), sum);
            if (arguments.Bias != null) sum = TLanes.Add(sum, TLanes.Load(arguments.Bias + first + i));
            TLanes.Store(sum, y + i);
        }

        for (; i < count; i++)
        {
            TVector sum = TLanes.Zero;
            for (int j = 0; j < arguments.Taps; j++)
                sum = TLanes.MultiplyAdd(TLanes.Broadcast(arguments.Kernel[((long)j * arguments.Channels) + first + i]), TLanes.Broadcast(arguments.Row(oldest + j)[first + i]), sum);
            if (arguments.Bias != null) sum = TLanes.Add(sum, TLanes.Broadcast(arguments.Bias[first + i]));
            y[i] = TLanes.First(sum);
        }
    }
}
