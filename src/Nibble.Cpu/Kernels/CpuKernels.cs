using Nibble.Core.Compute;

namespace Nibble.Cpu.Kernels;

/// <summary>The kernels of one instruction path.</summary>
internal abstract unsafe class CpuKernels
{
    /// <inheritdoc cref="MatMulRows{TLanes, TVector}.ScratchBytes"/>
    public abstract long MatMulScratchBytes(int columns, int tokens);

    /// <inheritdoc cref="MatMulRows{TLanes, TVector}.Run"/>
    public abstract void MatMul(in MatMulTarget target, in MatMulInput input, byte* scratch, int first, int end);

    /// <inheritdoc cref="AttentionTiles{TLanes, TVector}.Run"/>
    public abstract void Attention(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch);

    /// <inheritdoc cref="AttentionTiles{TLanes, TVector}.Merge"/>
    public abstract void MergeAttention(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Add"/>
    public abstract void Add(float* a, float* b, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Scale"/>
    public abstract void Scale(float* x, float factor, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Combine"/>
    public abstract void Combine(float* x, long stride, float* weights, int terms, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Activate(Activation, float*, float*, float*, int)"/>
    public abstract void Activate(Activation activation, float* gate, float* up, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Norm"/>
    public abstract void Norm(float* x, in NormOptions options, float* gain, float* bias, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.Clamp"/>
    public abstract void Clamp(float* x, float limit, float* y, int count);

    /// <inheritdoc cref="Elements{TLanes, TVector}.SoftCap"/>
    public abstract void SoftCap(float* x, float cap, float* y, int count);

    /// <inheritdoc cref="Convolution{TLanes, TVector}.Run"/>
    public abstract void Convolve(in ConvolutionArguments arguments, int token, int first, int count);

    /// <inheritdoc cref="Recurrence{TLanes, TVector}.Exp"/>
    public abstract void Exp(float* x, float factor, float* y, int count);

    /// <inheritdoc cref="Recurrence{TLanes, TVector}.Advance"/>
    public abstract float Advance(float* state, float* factors, float amount, float* direction, float* probe, int count);
}

/// <summary>The kernels of a path, made of its vectors.</summary>
internal sealed unsafe class CpuKernels<TLanes, TVector> : CpuKernels
    where TLanes : struct, ILanes<TVector>
    where TVector : struct
{
    public override long MatMulScratchBytes(int columns, int tokens) => MatMulRows<TLanes, TVector>.ScratchBytes(columns, tokens);

    public override void MatMul(in MatMulTarget target, in MatMulInput input, byte* scratch, int first, int end) =>
        MatMulRows<TLanes, TVector>.Run(in target, in input, scratch, first, end);

    public override void Attention(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch) => AttentionTiles<TLanes, TVector>.Run(in arguments, in unit, scratch);

    public override void MergeAttention(in AttentionArguments arguments, in AttentionUnit unit, byte* scratch) => AttentionTiles<TLanes, TVector>.Merge(in arguments, in unit, scratch);

    public override void Add(float* a, float* b, float* y, int count) => Elements<TLanes, TVector>.Add(a, b, y, count);

    public override void Scale(float* x, float factor, float* y, int count) => Elements<TLanes, TVector>.Scale(x, factor, y, count);

    public override void Combine(float* x, long stride, float* weights, int terms, float* y, int count) =>
        Elements<TLanes, TVector>.Combine(x, stride, weights, terms, y, count);

    public override void Activate(Activation activation, float* gate, float* up, float* y, int count) =>
        Elements<TLanes, TVector>.Activate(activation, gate, up, y, count);

    public override void Norm(float* x, in NormOptions options, float* gain, float* bias, float* y, int count) =>
        Elements<TLanes, TVector>.Norm(x, in options, gain, bias, y, count);

    public override void Clamp(float* x, float limit, float* y, int count) => Elements<TLanes, TVector>.Clamp(x, limit, y, count);

    public override void SoftCap(float* x, float cap, float* y, int count) => Elements<TLanes, TVector>.SoftCap(x, cap, y, count);

    public override void Convolve(in ConvolutionArguments arguments, int token, int first, int count) =>
        Convolution<TLanes, TVector>.Run(in arguments, token, first, count);

    public override void Exp(float* x, float factor, float* y, int count) => Recurrence<TLanes, TVector>.Exp(x, factor, y, count);

    public override float Advance(float* state, float* factors, float amount, float* direction, float* probe, int count) =>
        Recurrence<TLanes, TVector>.Advance(state, factors, amount, direction, probe, count);
}
