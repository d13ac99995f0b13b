using Nibble.Core.Compute;
using Nibble.Core.Formats;

namespace Nibble.Quantize.Calibration;

/// <summary>A weight that is computed with in the place of the one of its name.</summary>
/// <param name="Weight">The weight, of the same backend and shape.</param>
/// <param name="InProducts">Whether it takes the other's place in products.</param>
/// <param name="InRows">Whether it does where rows are looked up.</param>
public sealed record WeightSubstitute(Weight Weight, bool InProducts = true, bool InRows = true);

/// <summary>
/// A backend that computes with another one and shows an observer what matrices are multiplied with. So activations are recorded from the only forward pass there is. It can compute with another weight in the place
/// of one, too.
/// </summary>
/// <param name="inner">What computes; it is disposed of with this one.</param>
public sealed class RecordingBackend(Backend inner) : Backend
{
    private float[] _rows = [];
    private int[] _ids = [];

    // Scales of the weights that have some, by name.
    private readonly Dictionary<string, float[]> _scales = new(StringComparer.Ordinal);

    /// <summary>Who is shown what; null for nobody, and then nothing is read.</summary>
    public IActivationObserver? Observer { get; set; }

    /// <summary>What is computed with in the place of the weight of its name; null for nothing.</summary>
    public WeightSubstitute? Substitute { get; set; }

    /// <summary>Whether a single matrix's products are left out, since nobody reads them: what stands in their place is anything.</summary>
    internal bool SkipsProducts { get; set; }

    /// <inheritdoc/>
    public override string Name => inner.Name;

    /// <inheritdoc/>
    public override string Description => inner.Description;

    /// <inheritdoc/>
    public override long AvailableBytes => inner.AvailableBytes;

    /// <inheritdoc/>
    public override bool Supports(Operation operation, BlockFormat format) => inner.Supports(operation, format);

    /// <inheritdoc/>
    public override string KernelName(Operation operation, BlockFormat format) => inner.KernelName(operation, format);

    /// <inheritdoc/>
    public override long UploadBytes(IWeightSource source) => inner.UploadBytes(source);

    /// <inheritdoc/>
    public override Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default)
    {
        ArgumentNullException.ThrowIfNull(source);
        if (scales.Length > 0) _scales[source.Name] = scales.ToArray();
        return inner.Upload(source, scales);
    }

    /// <summary>Takes in what may become a <see cref="Substitute"/>, with the scales that the weight of its name has.</summary>
    /// <param name="source">Weights of the name and shape of one that was taken in before.</param>
    public Weight UploadSubstitute(IWeightSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return inner.Upload(source, _scales.GetValueOrDefault(source.Name));
    }

    /// <inheritdoc/>
    public override void Prepare(Weight weight) => inner.Prepare(weight);

    /// <inheritdoc/>
    public override Tensor Allocate(ElementType type, int rows, int columns) => inner.Allocate(type, rows, columns);

    /// <inheritdoc/>
    public override KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch) => inner.AllocateKv(layers, capacity, format, batch);

    /// <inheritdoc/>
    public override void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y) => inner.GetRows(Substitute is { InRows: true, Weight: var other } && other.Name == table.Name ? other : table, rows, y);

    /// <inheritdoc/>
    public override void MatMul(Tensor x, Weight weight, Tensor y) => MatMul(x, new ReadOnlySpan<Weight>(in weight), new ReadOnlySpan<Tensor>(in y));

    /// <inheritdoc/>
    public override void MatMul(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        if (!SkipsProducts || weights.Length > 1)
        {
            Weight[]? used = Substitute is null ? null : weights.ToArray();
            for (int i = 0; i < used?.Length; i++)
                used[i] = Used(used[i]);
            inner.MatMul(x, used ?? weights, y);
        }

        Observer?.Observe(weights, Rows(x), x.Rows);
    }

    /// <inheritdoc/>
    public override void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y)
    {
        inner.MatMulExperts(x, Used(weight), experts, y);
        if (Observer is null) return;
        int products = experts.Rows * experts.Columns;
        if (_ids.Length < products) _ids = new int[products];
        inner.Read(experts, _ids.AsSpan(0, products));
        Observer.ObserveExperts(weight, Rows(x), x.Rows, _ids.AsSpan(0, products));
    }

    /// <inheritdoc/>
    public override void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y) => inner.Norm(x, options, gain, bias, y);

    /// <inheritdoc/>
    public override void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope) => inner.Rope(x, headSize, firstPosition, rope);

    /// <inheritdoc/>
    public override void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition) => inner.StoreKv(keys, values, cache, layer, firstPosition);

    /// <inheritdoc/>
    public override void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y) =>
        inner.Attention(queries, cache, layer, firstPosition, options, y);

    /// <inheritdoc/>
    public override void Activate(Activation activation, Tensor x, Tensor y) => inner.Activate(activation, x, y);

    /// <inheritdoc/>
    public override void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y) => inner.GatedActivation(activation, gate, up, y);

    /// <inheritdoc/>
    public override void Add(Tensor a, Tensor b, Tensor y) => inner.Add(a, b, y);

    /// <inheritdoc/>
    public override void AddBias(Tensor x, Weight bias) => inner.AddBias(x, bias);

    /// <inheritdoc/>
    public override void AddExpertBias(Tensor x, Weight biases, Tensor experts) => inner.AddExpertBias(x, biases, experts);

    /// <inheritdoc/>
    public override void Scale(Tensor x, float factor, Tensor y) => inner.Scale(x, factor, y);

    /// <inheritdoc/>
    public override void Clamp(Tensor x, float limit, Tensor y) => inner.Clamp(x, limit, y);

    /// <inheritdoc/>
    public override void SoftCap(Tensor x, float cap, Tensor y) => inner.SoftCap(x, cap, y);

    /// <inheritdoc/>
    public override void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y) => inner.Convolve(x, kernel, bias, activation, state, y);

    /// <inheritdoc/>
    public override void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y) =>
        inner.DeltaRule(queries, keys, values, steps, rates, betas, isInterleaved, state, y);

    /// <inheritdoc/>
    public override void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y) =>
        inner.StateSpaceScan(x, steps, rates, inputs, outputs, skips, state, y);

    /// <inheritdoc/>
    public override void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights) => inner.Route(logits, routing, bias, experts, weights);

    /// <inheritdoc/>
    public override void Combine(Tensor x, Tensor weights, Tensor y) => inner.Combine(x, weights, y);

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<float> values, Tensor y) => inner.Write(values, y);

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<int> values, Tensor y) => inner.Write(values, y);

    /// <inheritdoc/>
    public override void Copy(Tensor x, Tensor y) => inner.Copy(x, y);

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<float> values) => inner.Read(x, values);

    /// <inheritdoc/>
    public override void Read(Tensor x, Span<int> values) => inner.Read(x, values);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) inner.Dispose();
    }

    private Weight Used(Weight weight) => Substitute is { InProducts: true, Weight: var other } && other.Name == weight.Name ? other : weight;

    private ReadOnlySpan<float> Rows(Tensor x)
    {
        int length = x.Rows * x.Columns;
        if (_rows.Length < length) _rows = new float[length];
        inner.Read(x, _rows.AsSpan(0, length));
        return _rows.AsSpan(0, length);
    }
}
