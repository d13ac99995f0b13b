using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Memory;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu;

/// <summary>Weights used where the file's mapping has them. A vector (one row) is also kept decoded.</summary>
internal sealed unsafe class CpuWeight : Weight
{
    private readonly IWeightSource _source;
    private readonly float[] _scales;
    private readonly NativeBuffer? _vector;

    public CpuWeight(IWeightSource source, ReadOnlySpan<float> scales)
        : base(source)
    {
        Shapes.CheckUpload(source, scales);
        _source = source;
        _scales = scales.ToArray();
        Codes = CodeFormats.Find(Format);
        RowBytes = Format.RowBytes(Columns);
        if (Rows != 1 || Matrices != 1) return;
        _vector = new NativeBuffer(VectorBytes(source));
        Span<float> values = _vector.Span<float>(0, Columns);
        Format.Decode(source.Row(0), values);
        foreach (ref float value in values)
            value *= ScaleOf(0);
    }

    /// <summary>How the format unpacks; null for F32, F16 and BF16.</summary>
    public CodeFormat? Codes { get; }

    /// <summary>Bytes of a row.</summary>
    public long RowBytes { get; }

    /// <summary>[columns] decoded values times the scale, of a weight with one row.</summary>
    public float* Vector => (float*)_vector!.Pointer;

    /// <summary>Bytes that <see cref="Vector"/> takes.</summary>
    public static long VectorBytes(IWeightSource source) => source.Rows == 1 && source.Matrices == 1 ? source.Columns * 4L : 0;

    /// <summary>The weight as this class.</summary>
    /// <exception cref="ArgumentException">The weight belongs to another kind of backend.</exception>
    public static CpuWeight Of(Weight weight) =>
        weight as CpuWeight ?? throw new ArgumentException($"{weight?.Name} was uploaded to another backend.", nameof(weight));

    /// <summary>The address of a matrix's first row; throws when the file was closed.</summary>
    public byte* Matrix(int matrix) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(_source.Row((long)matrix * Rows)));

    /// <summary>What the products of a matrix are multiplied by.</summary>
    public float ScaleOf(int matrix) => _scales.Length == 0 ? 1f : _scales[matrix];

    protected override void Dispose(bool disposing) => _vector?.Dispose();
}
