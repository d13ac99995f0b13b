using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace Nibble.Benchmarks;

/// <summary>What a product's mean time is in work: billions of multiplications with addition, or of bytes of weights, a second.</summary>
/// <param name="isBytes">Whether bytes are meant.</param>
internal sealed class RateColumn(bool isBytes) : IColumn
{
    /// <inheritdoc/>
    public string Id => nameof(RateColumn) + ColumnName;

    /// <inheritdoc/>
    public string ColumnName => isBytes ? "GB/s" : "GMAC/s";

    /// <inheritdoc/>
    public bool AlwaysShow => true;

    /// <inheritdoc/>
    public ColumnCategory Category => ColumnCategory.Custom;

    /// <inheritdoc/>
    public int PriorityInCategory => isBytes ? 1 : 0;

    /// <inheritdoc/>
    public bool IsNumeric => true;

    /// <inheritdoc/>
    public UnitType UnitType => UnitType.Dimensionless;

    /// <inheritdoc/>
    public string Legend => isBytes ? "Bytes of weights read a second, 1 GB = 1e9" : "Multiplications with addition a second";

    /// <inheritdoc/>
    public bool IsAvailable(Summary summary) => summary.BenchmarksCases.Any(benchmark => benchmark.Descriptor.Type == typeof(MatMulBenchmarks));

    /// <inheritdoc/>
    public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

    /// <inheritdoc/>
    public string GetValue(Summary summary, BenchmarkCase benchmarkCase) => GetValue(summary, benchmarkCase, summary.Style);

    /// <inheritdoc/>
    public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style)
    {
        if (benchmarkCase.Descriptor.Type != typeof(MatMulBenchmarks) || summary[benchmarkCase]?.ResultStatistics is not { } times) return "-";
        (double macs, double bytes) = MatMulBenchmarks.Work(
            (string)benchmarkCase.Parameters[nameof(MatMulBenchmarks.Format)], (string)benchmarkCase.Parameters[nameof(MatMulBenchmarks.Shape)], (int)benchmarkCase.Parameters[nameof(MatMulBenchmarks.Tokens)]);
        return ((isBytes ? bytes : macs) / times.Median).ToString("0.0", CultureInfo.InvariantCulture);
    }
}
