using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Cpu.Codes;

namespace Nibble.Cpu.Kernels;

/// <summary>One matrix of a product, the tokens it is multiplied with, and where the results go.</summary>
internal unsafe struct MatMulTarget
{
    /// <summary>What gives rows that are not stored as blocks; null where <see cref="Weights"/> has them.</summary>
    public IWeightSource? Source;

    /// <summary>The matrix' first row in <see cref="Source"/>.</summary>
    public long SourceRow;

    /// <summary>The first row's bytes; rows are <see cref="RowBytes"/> apart.</summary>
    public byte* Weights;

    /// <summary>Bytes of a row.</summary>
    public long RowBytes;

    /// <summary>Rows.</summary>
    public int Rows;

    /// <summary>What the products are multiplied by.</summary>
    public float Scale;

    /// <summary>What the input is rounded to multiples of, or 0.</summary>
    public float InputScale;

    /// <summary>Which of the input's forms it is multiplied with.</summary>
    public int Form;

    /// <summary>The weights' format.</summary>
    public BlockFormat Format;

    /// <summary>How the format unpacks; null for F32, F16, BF16 and encodings.</summary>
    public CodeFormat? Codes;

    /// <summary>The first output row.</summary>
    public float* Y;

    /// <summary>Values from one output row to the next.</summary>
    public long YStride;

    /// <summary>[<see cref="Count"/>] rows of the input.</summary>
    public int* Inputs;

    /// <summary>[<see cref="Count"/>] rows of the output.</summary>
    public int* Outputs;

    /// <summary>Tokens.</summary>
    public int Count;
}

/// <summary>The activations of a product, in the forms that the kernels read.</summary>
internal unsafe struct MatMulInput
{
    /// <summary>Values in a row.</summary>
    public int Columns;

    /// <summary>Float32 rows whose first <see cref="FloatColumns"/> values can be read; those past <see cref="Columns"/> are zero.</summary>
    public float* X;

    /// <summary>Values from one row of <see cref="X"/> to the next.</summary>
    public long XStride;

    /// <summary><see cref="Columns"/> rounded up to 16.</summary>
    public int FloatColumns;

    /// <summary>Groups of 16 columns, rounded up to 16.</summary>
    public static int GroupsOf(int columns) => (((columns + 15) / 16) + 15) & -16;
}
