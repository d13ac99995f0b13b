using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Quantize.Calibration;

namespace Nibble.Quantize.Planning;

/// <summary>
/// What errors of a model's tensors cost, on disk: a GGUF file a tensor, so that one is in memory at a time, and a list of what was measured of candidates. Everything follows from the <see cref="Identity"/>,
/// so that a stopped run goes on with what is there.
/// </summary>
public sealed class CostStore
{
    private const string IdentityKey = "nibble.costs.identity";
    private const string RowsKey = "nibble.costs.rows";
    private const string FirstRowsKey = "nibble.costs.first_rows";
    private const string MatricesKey = "nibble.costs.matrices";
    private const string DoneFile = "complete";
    private const string LossFile = "losses.jsonl";
    private const string FactorWord = "factor";

    private readonly string _folder;
    private readonly Dictionary<(string Tensor, string Target, string Method), double> _losses = [];

    /// <summary>Opens the store of an identity; its folder is made when something is written.</summary>
    /// <param name="folder">Where the stores of all identities lie.</param>
    /// <param name="identity">What the costs follow from; see <see cref="CostSurvey.Identity"/>.</param>
    public CostStore(string folder, string identity)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        ArgumentException.ThrowIfNullOrEmpty(identity);
        Identity = identity;
        _folder = Path.Combine(folder, $"costs-{identity[..32]}");
        ReadLosses();
    }

    /// <summary>What the costs follow from: model, text, method.</summary>
    public string Identity { get; }

    /// <summary>Whether the costs of all tensors are there.</summary>
    public bool IsComplete => File.Exists(Path.Combine(_folder, DoneFile));

    /// <summary>Keeps the cost of a tensor.</summary>
    /// <param name="cost">The cost.</param>
    public void Write(TensorCost cost)
    {
        ArgumentNullException.ThrowIfNull(cost);
        GgufWriter writer = new();
        writer.Set(IdentityKey, Identity).Set("general.name", cost.Name).Set(RowsKey, (uint)cost.Rows).Set(FirstRowsKey, GgufValue.Array(cost.Terms.Select(term => (uint)term.FirstRow).ToArray()));
        writer.Set(MatricesKey, GgufValue.Array(cost.Matrices.AsSpan()));
        for (int i = 0; i < cost.Terms.Length; i++)
        {
            CostTerm term = cost.Terms[i];
            writer.AddTensor(HessianName(i), BlockFormats.F32, [cost.Columns, cost.Columns], stream =>
            {
                // Row by row: all of it may have more bytes than a span.
                for (int row = 0; row < cost.Columns; row++)
                    stream.Write(MemoryMarshal.AsBytes(term.Hessian.AsSpan(row * cost.Columns, cost.Columns)));
            });
            writer.AddTensor(WeightsName(i), BlockFormats.F32, [term.RowWeights.Length], stream => stream.Write(MemoryMarshal.AsBytes(term.RowWeights.AsSpan())));
        }

        Directory.CreateDirectory(_folder);
        writer.Write(PathOf(cost.Name));
    }

    /// <summary>Notes that the costs of all tensors are there.</summary>
    public void Complete()
    {
        Directory.CreateDirectory(_folder);
        File.WriteAllText(Path.Combine(_folder, DoneFile), Identity + "\n");
    }

    /// <summary>Whether a tensor has a cost.</summary>
    /// <param name="tensor">The tensor.</param>
    public bool Has(string tensor) => File.Exists(PathOf(tensor));

    /// <summary>The cost of a tensor.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <exception cref="CalibrationException">It is not there, or its file is damaged or of another run.</exception>
    public TensorCost Read(string tensor)
    {
        string path = PathOf(tensor);
        if (!File.Exists(path)) throw new CalibrationException($"what errors of tensor '{tensor}' cost was not measured: there is no '{path}'.");
        try
        {
            using GgufFile file = GgufFile.Open(path);
            if (file.Metadata.GetString(IdentityKey) != Identity || file.Metadata.GetString("general.name") != tensor)
                throw file.Metadata.Error(IdentityKey, $"these are the costs of '{file.Metadata.GetString("general.name")}' in run {file.Metadata.GetString(IdentityKey)}, not of '{tensor}' in {Identity}.");
            uint[] firstRows = file.Metadata.GetUInt32Array(FirstRowsKey);
            List<CostTerm> terms = [];
            int columns = 0;
            for (int i = 0; i < firstRows.Length; i++)
            {
                GgufTensor hessian = Tensor(file, HessianName(i));
                columns = hessian.Columns;
                terms.Add(new CostTerm((int)firstRows[i], Values(hessian), Values(Tensor(file, WeightsName(i)))));
            }

            return new TensorCost(tensor, (int)file.Metadata.GetUInt32(RowsKey), columns, terms, file.Metadata.GetFloat32Array(MatricesKey));
        }
        catch (Exception error) when (error is GgufException or ArgumentException)
        {
            throw new CalibrationException($"what errors of tensor '{tensor}' cost cannot be read: {error.Message} Delete '{_folder}'.");
        }
    }

    /// <summary>What a candidate was found to cost, or null.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="target">What it would become.</param>
    /// <param name="method">How.</param>
    public double? Loss(string tensor, string target, string method) => _losses.TryGetValue((tensor, target, method), out double loss) ? loss : null;

    /// <summary>Keeps what a candidate was found to cost.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="target">What it would become.</param>
    /// <param name="method">How.</param>
    /// <param name="loss">Nats a token.</param>
    public void AddLoss(string tensor, string target, string method, double loss)
    {
        _losses[(tensor, target, method)] = loss;
        Directory.CreateDirectory(_folder);
        File.AppendAllText(Path.Combine(_folder, LossFile), JsonSerializer.Serialize(new MeasuredLoss(tensor, target, method, loss), PlanningJson.Line.MeasuredLoss) + "\n");
    }

    /// <summary>By what a tensor's terms were multiplied to become costs, where that was measured; else null.</summary>
    /// <param name="tensor">The tensor.</param>
    public double[]? Factors(string tensor)
    {
        List<double> factors = [];
        while (Loss(tensor, FactorWord, factors.Count.ToString(CultureInfo.InvariantCulture)) is { } factor)
            factors.Add(factor);
        return factors.Count == 0 ? null : [.. factors];
    }

    /// <summary>Keeps what <see cref="Factors"/> gives.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="factors">[terms].</param>
    public void SetFactors(string tensor, IReadOnlyList<double> factors)
    {
        ArgumentNullException.ThrowIfNull(factors);
        for (int i = 0; i < factors.Count; i++)
            AddLoss(tensor, FactorWord, i.ToString(CultureInfo.InvariantCulture), factors[i]);
    }

    /// <summary>Deletes everything of this identity.</summary>
    public void Delete()
    {
        if (Directory.Exists(_folder)) Directory.Delete(_folder, recursive: true);
    }

    private static string HessianName(int term) => string.Create(CultureInfo.InvariantCulture, $"hessian.{term}");

    private static string WeightsName(int term) => string.Create(CultureInfo.InvariantCulture, $"row_weights.{term}");

    private static GgufTensor Tensor(GgufFile file, string name)
    {
        GgufTensor tensor = file.Find(name) ?? throw new ArgumentException($"there is no '{name}'.", nameof(name));
        return tensor.Format == BlockFormats.F32 ? tensor : throw new ArgumentException($"'{name}' is {tensor.Format}; F32 is expected.", nameof(name));
    }

    private static float[] Values(GgufTensor tensor)
    {
        float[] values = new float[tensor.RowCount * tensor.Columns];
        for (int row = 0; row < tensor.RowCount; row++)
            tensor.Row(row).CopyTo(MemoryMarshal.AsBytes(values.AsSpan(row * tensor.Columns, tensor.Columns)));
        return values;
    }

    private string PathOf(string tensor) => Path.Combine(_folder, Uri.EscapeDataString(tensor) + ".gguf");

    private void ReadLosses()
    {
        string path = Path.Combine(_folder, LossFile);
        if (!File.Exists(path)) return;
        foreach (string line in File.ReadLines(path))
        {
            try
            {
                if (JsonSerializer.Deserialize(line, PlanningJson.Line.MeasuredLoss) is { } measured) _losses[(measured.Tensor, measured.Target, measured.Method)] = measured.Loss;
            }
            catch (JsonException)
            {
                // The line that a stopped run was writing.
            }
        }
    }
}
