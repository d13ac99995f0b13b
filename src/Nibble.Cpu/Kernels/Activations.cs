using System.Runtime.CompilerServices;
using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary>An <see cref="Activation"/> of vectors.</summary>
/// <typeparam name="TVector">The vector.</typeparam>
internal interface IActivation<TVector>
    where TVector : struct
{
    /// <summary>activation(gate) x up.</summary>
    static abstract TVector Of(TVector gate, TVector up);
}

/// <summary><see cref="Activation.Identity"/>.</summary>
internal readonly struct Identity<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up) => TLanes.Multiply(gate, up);
}

/// <summary><see cref="Activation.Silu"/>.</summary>
internal readonly struct Silu<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up) =>
        TLanes.Multiply(TLanes.Divide(gate, VectorMath<TLanes, TVector>.OnePlusExp(TLanes.Subtract(TLanes.Zero, gate))), up);
}

/// <summary><see cref="Activation.Relu"/>.</summary>
internal readonly struct Relu<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up) => TLanes.Multiply(TLanes.Max(TLanes.Zero, gate), up);
}

/// <summary><see cref="Activation.ReluSquared"/>.</summary>
internal readonly struct ReluSquared<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up)
    {
        TVector positive = TLanes.Max(TLanes.Zero, gate);
        return TLanes.Multiply(TLanes.Multiply(positive, positive), up);
    }
}

/// <summary><see cref="Activation.Sigmoid"/>.</summary>
internal readonly struct Sigmoid<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up) =>
        TLanes.Multiply(TLanes.Divide(TLanes.Broadcast(1f), VectorMath<TLanes, TVector>.OnePlusExp(TLanes.Subtract(TLanes.Zero, gate))), up);
}

/// <summary><see cref="Activation.Softplus"/>.</summary>
internal readonly struct Softplus<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up) => TLanes.Multiply(VectorMath<TLanes, TVector>.Softplus(gate), up);
}

/// <summary><see cref="Activation.SwigluOai"/>.</summary>
internal readonly struct SwigluOai<TLanes, TVector> : IActivation<TVector>
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static TVector Of(TVector gate, TVector up)
    {
        TVector g = TLanes.Min(TLanes.Broadcast(7f), gate), u = TLanes.Min(TLanes.Broadcast(7f), TLanes.Max(TLanes.Broadcast(-7f), up));
        TVector share = TLanes.Divide(g, VectorMath<TLanes, TVector>.OnePlusExp(TLanes.Multiply(g, TLanes.Broadcast(-1.702f))));
        return TLanes.Multiply(share, TLanes.Add(u, TLanes.Broadcast(1f)));
    }
}
