using System.Numerics;
using System.Runtime.InteropServices;
using Nibble.Core.Memory;

namespace Nibble.Quantize.Calibration;

/// <summary>Sums over the rows that one set of weights reads.</summary>
internal sealed unsafe class InputAccumulator : IDisposable
{
    // Rows that are summed in float32 before the sum goes into float64.
    private const int StripRows = 256;
    private const int ColumnsOfTask = 256;

    private readonly List<string> _weights;
    private readonly int _columns;
    private readonly long[] _counts;
    private readonly double[] _squareSums, _absSums;
    private readonly float[] _lowest, _highest;
    private readonly GramMatrix?[]? _hessians;
    private readonly AbsHistogram? _histogram;
    private readonly ColumnHistograms? _columnHistograms;

    /// <summary>Starts with nothing.</summary>
    /// <param name="weights">Names of the weights.</param>
    /// <param name="columns">Columns.</param>
    /// <param name="matrices">Matrices: experts.</param>
    /// <param name="kinds">What to collect.</param>
    public InputAccumulator(IEnumerable<string> weights, int columns, int matrices, StatisticKinds kinds)
    {
        _weights = [.. weights];
        _columns = columns;
        _counts = new long[matrices];
        _squareSums = new double[matrices * columns];
        _absSums = new double[matrices * columns];
        _lowest = new float[matrices * columns];
        _highest = new float[matrices * columns];
        _lowest.AsSpan().Fill(float.PositiveInfinity);
        _highest.AsSpan().Fill(float.NegativeInfinity);
        if (kinds.HasFlag(StatisticKinds.Hessian)) _hessians = new GramMatrix?[matrices];
        if (kinds.HasFlag(StatisticKinds.Histogram)) _histogram = new AbsHistogram();
        if (kinds.HasFlag(StatisticKinds.ColumnHistograms)) _columnHistograms = new ColumnHistograms(columns);
    }

    /// <summary>Bytes that an accumulator takes, and its result beside it.</summary>
    /// <param name="columns">Columns.</param>
    /// <param name="matrices">Matrices.</param>
    /// <param name="kinds">What is collected.</param>
    public static long Bytes(int columns, int matrices, StatisticKinds kinds) =>
        (40L * matrices * columns) + (kinds.HasFlag(StatisticKinds.Hessian) ? matrices * (GramMatrix.Bytes(columns) + (sizeof(float) * (long)columns * columns)) : 0)
        + (kinds.HasFlag(StatisticKinds.ColumnHistograms) ? ColumnHistograms.Bytes(columns) : 0);

    /// <summary>Adds rows of one matrix.</summary>
    /// <param name="matrix">The matrix.</param>
    /// <param name="x">[rows x columns].</param>
    /// <param name="rows">Rows.</param>
    /// <exception cref="CalibrationException">A value is infinite or NaN.</exception>
    public void Add(int matrix, ReadOnlySpan<float> x, int rows)
    {
        if (rows == 0) return;
        _counts[matrix] += rows;
        fixed (float* pointer = x)
        {
            float* all = pointer;
            Work.For((_columns + ColumnsOfTask - 1) / ColumnsOfTask, task =>
            {
                int first = task * ColumnsOfTask, count = Math.Min(ColumnsOfTask, _columns - first);
                for (int start = 0; start < rows; start += StripRows)
                    AddColumns(all + ((long)start * _columns) + first, Math.Min(StripRows, rows - start), count, (matrix * _columns) + first);
            });
        }

        for (int i = matrix * _columns; i < (matrix + 1) * _columns; i++)
            if (!double.IsFinite(_squareSums[i]))
                throw new CalibrationException($"column {i % _columns} of what '{_weights[0]}' reads holds a value that is infinite or NaN, or too large to be squared; the model cannot be calibrated on this text with this arithmetic. Try --exact.");
        _histogram?.Add(x);
        _columnHistograms?.Add(x, rows);
        if (_hessians is null) return;
        (_hessians[matrix] ??= new GramMatrix(_columns)).Add(x, rows);
    }

    /// <summary>The result; the sums are given up.</summary>
    public ActivationStatistics Finish()
    {
        for (int i = 0; i < _lowest.Length; i++)
            if (_counts[i / _columns] == 0) _lowest[i] = _highest[i] = 0;
        NativeBuffer? hessian = null;
        if (_hessians is not null)
        {
            hessian = new NativeBuffer(sizeof(float) * (long)_counts.Length * _columns * _columns);
            for (int matrix = 0; matrix < _counts.Length; matrix++)
            {
                _hessians[matrix]?.CopyTo((float*)hessian.Pointer + ((long)matrix * _columns * _columns));
                _hessians[matrix]?.Dispose();
                _hessians[matrix] = null;
            }
        }

        return new ActivationStatistics(
            _weights, _columns, _counts, Array.ConvertAll(_squareSums, value => (float)value), Array.ConvertAll(_absSums, value => (float)value), _lowest, _highest, hessian, _histogram, _columnHistograms);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (GramMatrix? hessian in _hessians ?? [])
            hessian?.Dispose();
    }

    private void AddColumns(float* x, int rows, int count, int place)
    {
        Span<float> squares = stackalloc float[ColumnsOfTask], magnitudes = stackalloc float[ColumnsOfTask];
        squares.Clear();
        magnitudes.Clear();
        int whole = count / Vector<float>.Count;
        Span<Vector<float>> squareVectors = MemoryMarshal.Cast<float, Vector<float>>(squares), magnitudeVectors = MemoryMarshal.Cast<float, Vector<float>>(magnitudes);
        Span<Vector<float>> lowest = MemoryMarshal.Cast<float, Vector<float>>(_lowest.AsSpan(place, whole * Vector<float>.Count));
        Span<Vector<float>> highest = MemoryMarshal.Cast<float, Vector<float>>(_highest.AsSpan(place, whole * Vector<float>.Count));
        for (int row = 0; row < rows; row++)
        {
            ReadOnlySpan<float> values = new(x + ((long)row * _columns), count);
            ReadOnlySpan<Vector<float>> vectors = MemoryMarshal.Cast<float, Vector<float>>(values[..(whole * Vector<float>.Count)]);
            for (int i = 0; i < vectors.Length; i++)
            {
                Vector<float> value = vectors[i];
                squareVectors[i] += value * value;
                magnitudeVectors[i] += Vector.Abs(value);
                lowest[i] = Vector.Min(lowest[i], value);
                highest[i] = Vector.Max(highest[i], value);
            }

            for (int i = whole * Vector<float>.Count; i < count; i++)
            {
                squares[i] += values[i] * values[i];
                magnitudes[i] += MathF.Abs(values[i]);
                _lowest[place + i] = MathF.Min(_lowest[place + i], values[i]);
                _highest[place + i] = MathF.Max(_highest[place + i], values[i]);
            }
        }

        for (int i = 0; i < count; i++)
        {
            _squareSums[place + i] += squares[i];
            _absSums[place + i] += magnitudes[i];
        }
    }
}
