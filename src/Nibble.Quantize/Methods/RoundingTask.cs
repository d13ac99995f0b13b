using Nibble.Core.Compute;
using Nibble.Core.Encodings;
using Nibble.Core.Formats;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Methods;

/// <summary>One matrix that is to be rounded.</summary>
public sealed class RoundingTask
{
    /// <summary>The tensor's name, for errors.</summary>
    public required string Name { get; init; }

    /// <summary>[rows x columns], finite.</summary>
    public required float[] Weights { get; init; }

    /// <summary>Rows: the output dimension.</summary>
    public required int Rows { get; init; }

    /// <summary>Columns: the input dimension.</summary>
    public required int Columns { get; init; }

    /// <summary>What it becomes.</summary>
    public required TensorTarget Target { get; init; }

    /// <summary>The description of the whole tensor where <see cref="Target"/> is an <see cref="EncodingTarget"/>; else null.</summary>
    public TensorEncoding? Encoding { get; init; }

    /// <summary>Which of the tensor's matrices it is: the expert.</summary>
    public int Matrix { get; init; }

    /// <summary>What the tensor is multiplied with, or null.</summary>
    public ActivationStatistics? Statistics { get; init; }

    /// <summary>[columns] what the inputs that <see cref="Statistics"/> tells of are divided by when these weights are used (<see cref="LayerChange.InputDivisors"/>), or null for nothing.</summary>
    public float[]? InputDivisors { get; init; }

    /// <summary>Columns, ascending, that <see cref="Encoding"/> has apart.</summary>
    public IReadOnlyList<int> Outliers { get; init; } = [];

    /// <summary>[columns] E[x²] from an importance matrix, or null.</summary>
    public float[]? Importance { get; init; }

    /// <summary>The task of a tensor's matrix.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="matrix">Which of its matrices.</param>
    /// <param name="target">What it becomes.</param>
    /// <param name="encoding">The tensor's description, or null to have <see cref="EncodingTarget.Describe"/> make it where there is to be one.</param>
    /// <param name="statistics">What the tensor is multiplied with, or null.</param>
    /// <param name="importance">[columns] or [matrices x columns] E[x²], or null.</param>
    /// <param name="inputDivisors">[columns] what the inputs are divided by, or null.</param>
    /// <param name="outliers">Columns, ascending, that the description has apart; null for none.</param>
    /// <exception cref="ArgumentException">There are other numbers of importances or divisors than that.</exception>
    /// <exception cref="InsufficientMemoryException">The matrix has more values than an array can hold.</exception>
    public static RoundingTask Of(
        IWeightSource source, int matrix, TensorTarget target, TensorEncoding? encoding = null, ActivationStatistics? statistics = null, float[]? importance = null, float[]? inputDivisors = null,
        IReadOnlyList<int>? outliers = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Of(source, matrix, 0, source.Rows, target, encoding, statistics, importance, inputDivisors, outliers);
    }

    /// <summary>The task of some rows of a tensor's matrix.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="matrix">Which of its matrices.</param>
    /// <param name="firstRow">The first row of the matrix.</param>
    /// <param name="rows">How many.</param>
    /// <param name="target">What it becomes.</param>
    /// <param name="encoding">The tensor's description, or null to have <see cref="EncodingTarget.Describe"/> make it where there is to be one.</param>
    /// <param name="statistics">What the tensor is multiplied with, or null.</param>
    /// <param name="importance">[columns] or [matrices x columns] E[x²], or null.</param>
    /// <param name="inputDivisors">[columns] what the inputs are divided by, or null.</param>
    /// <param name="outliers">Columns, ascending, that the description has apart; null for none.</param>
    public static RoundingTask Of(
        IWeightSource source, int matrix, int firstRow, int rows, TensorTarget target, TensorEncoding? encoding, ActivationStatistics? statistics, float[]? importance, float[]? inputDivisors,
        IReadOnlyList<int>? outliers = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentNullException.ThrowIfNull(target);
        if (importance is not null && importance.Length != source.Columns && importance.Length != (long)source.Matrices * source.Columns)
            throw new ArgumentException($"{importance.Length} importances were given for '{source.Name}'; {source.Columns} columns and {source.Matrices} matrices need {source.Columns} or {(long)source.Matrices * source.Columns}.", nameof(importance));
        if (inputDivisors is not null && inputDivisors.Length != source.Columns)
            throw new ArgumentException($"{inputDivisors.Length} divisors were given for the {source.Columns} columns of '{source.Name}'.", nameof(inputDivisors));
        TensorEncoding? description = encoding ?? (target as EncodingTarget)?.Describe(source);
        return new RoundingTask
        {
            Name = source.Name,
            Weights = Values(source, matrix, firstRow, rows),
            Rows = rows,
            Columns = source.Columns,
            Target = target,
            Encoding = description is null || rows == source.Rows ? description : description with { Rows = rows },
            Matrix = matrix,
            Statistics = statistics,
            InputDivisors = inputDivisors,
            Outliers = outliers ?? [],
            Importance = importance is null || importance.Length == source.Columns ? importance : importance.AsSpan(matrix * source.Columns, source.Columns).ToArray(),
        };
    }

    /// <summary>The values of one of a tensor's matrices.</summary>
    /// <param name="source">The tensor.</param>
    /// <param name="matrix">Which.</param>
    /// <returns>[rows x columns].</returns>
    /// <exception cref="InsufficientMemoryException">The matrix has more values than an array can hold.</exception>
    public static float[] Values(IWeightSource source, int matrix)
    {
        ArgumentNullException.ThrowIfNull(source);
        return Values(source, matrix, 0, source.Rows);
    }

    private static float[] Values(IWeightSource source, int matrix, int firstRow, int rows) => FloatMatrix.Read(source, ((long)matrix * source.Rows) + firstRow, rows);
}

/// <summary>A matrix in its target's bytes: blocks, or the parts of an encoding.</summary>
public sealed class RoundedMatrix
{
    /// <summary>Blocks, row by row.</summary>
    /// <param name="blocks">[rows x bytes of a row].</param>
    public RoundedMatrix(byte[] blocks)
    {
        ArgumentNullException.ThrowIfNull(blocks);
        Blocks = blocks;
        Parts = new Dictionary<EncodedPart, byte[]>();
    }

    /// <summary>Parts of an encoding.</summary>
    /// <param name="parts">Each part's bytes, of this matrix alone; tables, which all matrices share, whole.</param>
    public RoundedMatrix(IReadOnlyDictionary<EncodedPart, byte[]> parts)
    {
        ArgumentNullException.ThrowIfNull(parts);
        Blocks = [];
        Parts = parts;
    }

    /// <summary>[rows x bytes of a row]; empty where the target is an encoding.</summary>
    public byte[] Blocks { get; }

    /// <summary>The bytes of each part; empty where the target is a block format.</summary>
    public IReadOnlyDictionary<EncodedPart, byte[]> Parts { get; }
}
