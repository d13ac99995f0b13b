using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Nibble.Core.Compute;
using Nibble.Core.Memory;
using Nibble.Cpu.Codes;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu;

/// <summary>Weights where the file's mapping has them, and packed ones if products asked for them. A vector (one row) is also kept decoded.</summary>
internal sealed unsafe class CpuWeight : Weight
{
    private readonly IWeightSource _source;
    private readonly float[] _scales;
    private NativeBuffer? _vector, _transposed;

    public CpuWeight(IWeightSource source, ReadOnlySpan<float> scales)
        : base(source)
    {
        Shapes.CheckUpload(source, scales);
        _source = source;
        _scales = scales.ToArray();
        Codes = CodeFormats.Find(Format);
        RowBytes = source.IsStored ? Format.RowBytes(Columns) : 0;
        if (VectorBytes(source) > 0) _vector = Decoded();
    }

    /// <summary>How the format unpacks; null for F32, F16, BF16 and encodings.</summary>
    public CodeFormat? Codes { get; }

    /// <summary>Bytes of a stored row; 0 where rows are put together (<see cref="IWeightSource.IsStored"/>).</summary>
    public long RowBytes { get; }

    /// <summary>Where rows come from.</summary>
    public IWeightSource Source => _source;

    /// <summary>The matrices in packed order, or null.</summary>
    public PackedMatrix? Packed { get; set; }

    /// <summary>Whether the matrices have no packed order: the format has none, or their scales have no place in it.</summary>
    public bool IsUnpackable { get; set; }

    /// <summary>
    /// [rows x columns] decoded values times the scale, of one matrix. Vectors are decoded when they are uploaded; of tables (a gain for each head, biases of experts) float32 ones
    /// are used where they are, and others decoded when first asked for.
    /// </summary>
    public float* Vector => _vector is null && Format.Name == "F32" && ScaleOf(0) == 1 ? (float*)Matrix(0) : (float*)(_vector ??= Decoded()).Pointer;

    /// <summary>[columns x rows] what <see cref="Vector"/> has, turned when first asked for: a convolution's taps, each for all channels.</summary>
    public float* Transposed => (float*)(_transposed ??= Turned()).Pointer;

    /// <summary>Bytes that <see cref="Vector"/> takes.</summary>
    public static long VectorBytes(IWeightSource source) => source.Rows == 1 && source.Matrices == 1 ? source.Columns * 4L : 0;

    /// <summary>The weight as this class.</summary>
    /// <exception cref="ArgumentException">The weight belongs to another kind of backend.</exception>
    public static CpuWeight Of(Weight weight) =>
        weight as CpuWeight ?? throw new ArgumentException($"{weight?.Name} was uploaded to another backend.", nameof(weight));

    /// <summary>The address of a matrix's first row, where rows are stored; throws when the file was closed.</summary>
    public byte* Matrix(int matrix) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(_source.Row((long)matrix * Rows)));

    /// <summary>What the products of a matrix are multiplied by.</summary>
    public float ScaleOf(int matrix) => _scales.Length == 0 ? 1f : _scales[matrix];

    protected override void Dispose(bool disposing)
    {
        Packed?.Dispose();
        _vector?.Dispose();
        _transposed?.Dispose();
    }

    private NativeBuffer Decoded()
    {
        NativeBuffer decoded = new((long)Rows * Columns * 4);
        for (int r = 0; r < Rows; r++)
        {
            Span<float> values = decoded.Span<float>((long)r * Columns, Columns);
            _source.CopyRow(r, values);
            foreach (ref float value in values)
                value *= ScaleOf(0);
        }

        return decoded;
    }

    private NativeBuffer Turned()
    {
        NativeBuffer turned = new((long)Rows * Columns * 4);
        float* from = Vector, to = (float*)turned.Pointer;
        for (int r = 0; r < Rows; r++)
            for (int c = 0; c < Columns; c++)
                to[((long)c * Rows) + r] = from[((long)r * Columns) + c];
        return turned;
    }
}
