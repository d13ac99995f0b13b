using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Core.Compute;

/// <summary>What a forward pass computes with. There is one forward pass, and it knows only this class.</summary>
/// <remarks>
/// <para>Calls enqueue; only <see cref="Read(Tensor, Span{float})"/> (and the row access of a <see cref="KvCache"/>) waits. One thread at a time calls a backend.
/// Shapes are checked on the call (<see cref="Shapes"/>), so that no wrong one is found later.</para>
/// <para>Shapes are [rows x columns], a row a token unless said otherwise. An output may be the input it replaces where the text says "in place",
/// else outputs must not overlap inputs.</para>
/// </remarks>
public abstract class Backend : IDisposable
{
    /// <summary>The name in <c>--device</c> and reports, for example <c>cpu</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What it runs on and how, for people: processor, instruction sets, threads.</summary>
    public abstract string Description { get; }

    /// <summary>Bytes that can still be allocated on the device, as far as it tells; <see cref="long.MaxValue"/> where it does not.</summary>
    public abstract long AvailableBytes { get; }

    /// <summary>Whether a format can be used so. Asked once, at load.</summary>
    /// <param name="operation">The use.</param>
    /// <param name="format">The format.</param>
    public abstract bool Supports(Operation operation, BlockFormat format);

    /// <summary>Which kernel serves a format, for reports.</summary>
    /// <param name="operation">The use.</param>
    /// <param name="format">The format.</param>
    public abstract string KernelName(Operation operation, BlockFormat format);

    /// <summary>Bytes of the device's memory that <see cref="Upload"/> of these weights, and <see cref="Prepare"/> if they are a matrix, will allocate.</summary>
    /// <param name="source">The weights.</param>
    public abstract long UploadBytes(IWeightSource source);

    /// <summary>Takes weights in. The source's owner stays open as long as the weight lives.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="scales">What each matrix's products are multiplied by: [matrices], or empty for 1.</param>
    /// <exception cref="ArgumentException">There is another number of scales than of matrices.</exception>
    public abstract Weight Upload(IWeightSource source, ReadOnlySpan<float> scales = default);

    /// <summary>
    /// Puts a weight that products will read into the order in which they read it, where this backend has one that is better than the file's. Products do it themselves when they first meet the
    /// weight; a model does it while it loads.
    /// </summary>
    /// <param name="weight">A weight of this backend.</param>
    /// <exception cref="InsufficientMemoryException">There is no memory for it.</exception>
    public virtual void Prepare(Weight weight)
    {
    }

    /// <summary>Tells that the weights of a file are taken in from now on, until <see cref="EndLoad"/>. A backend may then take from elsewhere what it made of them before.</summary>
    /// <param name="file">The file.</param>
    public virtual void BeginLoad(GgufFile file)
    {
    }

    /// <summary>Ends what <see cref="BeginLoad"/> began.</summary>
    /// <param name="isWhole">Whether all weights were taken in; if not, nothing is kept.</param>
    /// <returns>What became of the file in which weights are kept, or null where there is none.</returns>
    public virtual WeightCacheReport? EndLoad(bool isWhole) => null;

    /// <summary>Allocates zeroed activations [rows x columns].</summary>
    /// <param name="type">Element type.</param>
    /// <param name="rows">Rows.</param>
    /// <param name="columns">Columns.</param>
    public abstract Tensor Allocate(ElementType type, int rows, int columns);

    /// <summary>Allocates a KV cache.</summary>
    /// <param name="layers">Shape of each layer.</param>
    /// <param name="capacity">Positions.</param>
    /// <param name="format">One of <see cref="KvCache.Formats"/>.</param>
    /// <param name="batch">Tokens that are stored at a time at most: what layers with a window hold besides it.</param>
    public abstract KvCache AllocateKv(ReadOnlySpan<KvLayer> layers, int capacity, BlockFormat format, int batch);

    /// <summary>y[i] = row <paramref name="rows"/>[i] of the table, decoded.</summary>
    /// <param name="table">One matrix.</param>
    /// <param name="rows">[n] row numbers.</param>
    /// <param name="y">[n x table columns], overwritten.</param>
    public abstract void GetRows(Weight table, ReadOnlySpan<int> rows, Tensor y);

    /// <summary>y[t, r] = scale x sum over c of weight[r, c] x[t, c], where x is rounded first if the weight has an <see cref="Weight.InputScale"/>.</summary>
    /// <param name="x">[tokens x weight columns].</param>
    /// <param name="weight">One matrix.</param>
    /// <param name="y">[tokens x weight rows], overwritten.</param>
    public abstract void MatMul(Tensor x, Weight weight, Tensor y);

    /// <summary>Several products of one input, as <see cref="MatMul(Tensor, Weight, Tensor)"/> of each.</summary>
    /// <param name="x">[tokens x columns of every weight].</param>
    /// <param name="weights">[n] matrices.</param>
    /// <param name="y">[n] outputs, overwritten.</param>
    public virtual void MatMul(Tensor x, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(y.Length, weights.Length);
        for (int i = 0; i < weights.Length; i++)
            MatMul(x, weights[i], y[i]);
    }

    /// <summary>Several products of the norm of one input: <see cref="Norm"/>, then <see cref="MatMul(Tensor, ReadOnlySpan{Weight}, ReadOnlySpan{Tensor})"/> of what it gives, with the same bits.</summary>
    /// <param name="x">[tokens x columns of every weight].</param>
    /// <param name="options">How it is normed.</param>
    /// <param name="gain">As for <see cref="Norm"/>.</param>
    /// <param name="bias">As for <see cref="Norm"/>.</param>
    /// <param name="normed">[tokens x columns] for the norm, <paramref name="x"/> itself or apart from it: what is there afterwards is anything, for nobody else is to read it.</param>
    /// <param name="weights">[n] matrices.</param>
    /// <param name="y">[n] outputs, overwritten.</param>
    public virtual void MatMulNormed(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor normed, ReadOnlySpan<Weight> weights, ReadOnlySpan<Tensor> y)
    {
        Norm(x, options, gain, bias, normed);
        MatMul(normed, weights, y);
    }

    /// <summary>The product of gated values: <see cref="GatedActivation"/>, then <see cref="MatMul(Tensor, Weight, Tensor)"/> of what it gives, with the same bits.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="gate">[tokens x weight columns].</param>
    /// <param name="up">[tokens x weight columns].</param>
    /// <param name="gated">[tokens x weight columns] for the gated values, <paramref name="gate"/>, <paramref name="up"/> or apart from them: what is there afterwards is anything.</param>
    /// <param name="weight">One matrix.</param>
    /// <param name="y">[tokens x weight rows], overwritten.</param>
    public virtual void MatMulGated(Activation activation, Tensor gate, Tensor up, Tensor gated, Weight weight, Tensor y)
    {
        GatedActivation(activation, gate, up, gated);
        MatMul(gated, weight, y);
    }

    /// <summary>y[t n + i, r] = scale of e x sum over c of weight e[r, c] x[row, c], where e = experts[t, i] and row = t, or t n + i when x has a row an expert.</summary>
    /// <param name="x">[tokens x columns] or [tokens n x columns].</param>
    /// <param name="weight">A matrix an expert.</param>
    /// <param name="experts">int32 [tokens x n].</param>
    /// <param name="y">[tokens n x weight rows], overwritten.</param>
    public abstract void MatMulExperts(Tensor x, Weight weight, Tensor experts, Tensor y);

    /// <summary>The experts' products of gated values: <see cref="GatedActivation"/>, then <see cref="MatMulExperts"/> of what it gives, with the same bits.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="gate">[tokens n x weight columns].</param>
    /// <param name="up">[tokens n x weight columns].</param>
    /// <param name="gated">[tokens n x weight columns] for the gated values, <paramref name="gate"/>, <paramref name="up"/> or apart from them: what is there afterwards is anything.</param>
    /// <param name="weight">A matrix an expert.</param>
    /// <param name="experts">int32 [tokens x n].</param>
    /// <param name="y">[tokens n x weight rows], overwritten.</param>
    public virtual void MatMulExpertsGated(Activation activation, Tensor gate, Tensor up, Tensor gated, Weight weight, Tensor experts, Tensor y)
    {
        GatedActivation(activation, gate, up, gated);
        MatMulExperts(gated, weight, experts, y);
    }

    /// <summary>y = norm of each row of x, or of each group of <see cref="NormOptions.Size"/> columns, times the gain, plus the bias. In place allowed.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="options">How.</param>
    /// <param name="gain">[size], the same for all groups, or all [columns], in one row or several; null for none.</param>
    /// <param name="bias">As the gain.</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Norm(Tensor x, in NormOptions options, Weight? gain, Weight? bias, Tensor y);

    /// <summary>Turns every head of x in place.</summary>
    /// <param name="x">[tokens x heads of <paramref name="headSize"/> values].</param>
    /// <param name="headSize">Values in a head.</param>
    /// <param name="firstPosition">Position of the first token; the others follow.</param>
    /// <param name="rope">The rotation.</param>
    public abstract void Rope(Tensor x, int headSize, int firstPosition, RopeTable rope);

    /// <summary>Encodes keys and values into the cache.</summary>
    /// <param name="keys">[tokens x heads of key size].</param>
    /// <param name="values">[tokens x heads of value size].</param>
    /// <param name="cache">The cache.</param>
    /// <param name="layer">Layer.</param>
    /// <param name="firstPosition">Position of the first token; the others follow.</param>
    public abstract void StoreKv(Tensor keys, Tensor values, KvCache cache, int layer, int firstPosition);

    /// <summary>Causal attention: each token's heads over the cache's positions 0, or where its window begins, to its own.</summary>
    /// <param name="queries">[tokens x heads of key size].</param>
    /// <param name="cache">The cache, with the tokens' own keys and values stored.</param>
    /// <param name="layer">Layer.</param>
    /// <param name="firstPosition">Position of the first token; the others follow.</param>
    /// <param name="options">Heads, scale and the rest.</param>
    /// <param name="y">[tokens x heads of value size], overwritten.</param>
    public abstract void Attention(Tensor queries, KvCache cache, int layer, int firstPosition, in AttentionOptions options, Tensor y);

    /// <summary>y = activation(x). In place allowed.</summary>
    /// <param name="activation">The activation, one that has no gate.</param>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Activate(Activation activation, Tensor x, Tensor y);

    /// <summary>y = activation(gate) x up. In place allowed.</summary>
    /// <param name="activation">The activation.</param>
    /// <param name="gate">[tokens x columns].</param>
    /// <param name="up">[tokens x columns].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void GatedActivation(Activation activation, Tensor gate, Tensor up, Tensor y);

    /// <summary>y = a + b. In place allowed.</summary>
    /// <param name="a">[tokens x columns].</param>
    /// <param name="b">[tokens x columns].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Add(Tensor a, Tensor b, Tensor y);

    /// <summary>x[t] = x[t] + the bias, times the bias' scale.</summary>
    /// <param name="x">[tokens x columns], changed in place.</param>
    /// <param name="bias">[columns].</param>
    public abstract void AddBias(Tensor x, Weight bias);

    /// <summary>x[t n + i] = x[t n + i] + row experts[t, i] of the biases.</summary>
    /// <param name="x">[tokens n x columns], changed in place.</param>
    /// <param name="biases">[columns] an expert.</param>
    /// <param name="experts">int32 [tokens x n].</param>
    public abstract void AddExpertBias(Tensor x, Weight biases, Tensor experts);

    /// <summary>y = factor x. In place allowed.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="factor">The factor.</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Scale(Tensor x, float factor, Tensor y);

    /// <summary>y = min(max(x, -limit), limit). In place allowed.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="limit">The limit, above 0.</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Clamp(Tensor x, float limit, Tensor y);

    /// <summary>y = cap x tanh(x / cap). In place allowed.</summary>
    /// <param name="x">[tokens x columns].</param>
    /// <param name="cap">The cap, above 0.</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void SoftCap(Tensor x, float cap, Tensor y);

    /// <summary>
    /// Causal convolution of each channel: y[t, c] = activation(bias[c] + sum over j of kernel[c, j] x[t - (k - 1) + j, c]), where rows before the first are the state's.
    /// Afterwards the state holds the last k - 1 rows.
    /// </summary>
    /// <param name="x">[tokens x channels].</param>
    /// <param name="kernel">[k] a channel.</param>
    /// <param name="bias">[channels], or null.</param>
    /// <param name="activation">The activation, one that has no gate.</param>
    /// <param name="state">[k - 1 x channels], the oldest row first; changed.</param>
    /// <param name="y">[tokens x channels], overwritten.</param>
    public abstract void Convolve(Tensor x, Weight kernel, Weight? bias, Activation activation, Tensor state, Tensor y);

    /// <summary>
    /// Gated delta rule, a token after the other: with f = e^(rate x step) for a head, or for each value of its key, S = S diag(f), then S = S + beta (v - S k) k^T, and y = S q / sqrt(key size).
    /// </summary>
    /// <remarks>
    /// Yang, Kautz and Hatamizadeh, Gated Delta Networks, arXiv 2412.06464; with a step for each value of a key: Kimi Delta Attention, arXiv 2510.26692. Value heads may be a multiple of key heads:
    /// <paramref name="isInterleaved"/> tells which share one.
    /// </remarks>
    /// <param name="queries">[tokens x key heads of key size].</param>
    /// <param name="keys">[tokens x key heads of key size].</param>
    /// <param name="values">[tokens x heads of value size].</param>
    /// <param name="steps">[tokens x heads] or [tokens x heads of key size].</param>
    /// <param name="rates">[heads] a value each, in rows or columns.</param>
    /// <param name="betas">[tokens x heads].</param>
    /// <param name="isInterleaved">Head h reads key head h modulo the key heads, not key head h / (heads / key heads).</param>
    /// <param name="state">[heads of value size x key size]: S of every head; changed.</param>
    /// <param name="y">[tokens x heads of value size], overwritten.</param>
    public abstract void DeltaRule(Tensor queries, Tensor keys, Tensor values, Tensor steps, Weight rates, Tensor betas, bool isInterleaved, Tensor state, Tensor y);

    /// <summary>
    /// Selective state space model, a token after the other: for value x of a head with its step, its group's B and C: s = e^(rate x step) s + step x B, y = s . C + skip x x.
    /// </summary>
    /// <remarks>Dao and Gu, Mamba-2, arXiv 2405.21060: a rate a head. Gu and Dao, Mamba, arXiv 2312.00752: heads of one value, with a rate for each value of the state.</remarks>
    /// <param name="x">[tokens x heads of head size].</param>
    /// <param name="steps">[tokens x heads].</param>
    /// <param name="rates">[state size] a head, or [heads] a value each, in rows or columns.</param>
    /// <param name="inputs">B: [tokens x groups of state size]; neighbouring heads share a group.</param>
    /// <param name="outputs">C: [tokens x groups of state size].</param>
    /// <param name="skips">[heads] a value each, in rows or columns.</param>
    /// <param name="state">[heads of head size x state size]; changed.</param>
    /// <param name="y">[tokens x heads of head size], overwritten.</param>
    public abstract void StateSpaceScan(Tensor x, Tensor steps, Weight rates, Tensor inputs, Tensor outputs, Weight skips, Tensor state, Tensor y);

    /// <summary>Chooses experts: of equals the lower id goes first.</summary>
    /// <param name="logits">[tokens x experts].</param>
    /// <param name="routing">How.</param>
    /// <param name="bias">[experts] added to what the logits became when experts are chosen, not to their weights; null for none.</param>
    /// <param name="experts">int32 [tokens x used], overwritten, the best first.</param>
    /// <param name="weights">[tokens x used], overwritten.</param>
    public abstract void Route(Tensor logits, in Routing routing, Weight? bias, Tensor experts, Tensor weights);

    /// <summary>y[t] = sum over i of weights[t, i] x[t n + i]. In place allowed where n is 1.</summary>
    /// <param name="x">[tokens n x columns].</param>
    /// <param name="weights">[tokens x n].</param>
    /// <param name="y">[tokens x columns], overwritten.</param>
    public abstract void Combine(Tensor x, Tensor weights, Tensor y);

    /// <summary>Whether <see cref="TopK"/> chooses where the values are, so that it costs less than to read them all.</summary>
    public virtual bool HasTopK => false;

    /// <summary>
    /// The columns of each row's highest values, the highest first, of equals the lower one. A NaN goes before all others, as plus infinity, and the column of what is no finite number is -1, so that
    /// whoever looks at columns only sees it.
    /// </summary>
    /// <param name="x">[rows x n].</param>
    /// <param name="columns">int32 [rows x k], overwritten; k is 1 to n.</param>
    /// <param name="values">[rows x k], overwritten.</param>
    public virtual void TopK(Tensor x, Tensor columns, Tensor values)
    {
        int k = Shapes.CheckTopK(x, columns, values);
        float[] row = new float[x.Columns], best = new float[k];
        int[] chosen = new int[k];
        for (int t = 0; t < x.Rows; t++)
        {
            Read(x.SliceRows(t, 1), row);
            for (int c = 0, count = 0; c < row.Length; c++)
            {
                float value = float.IsNaN(row[c]) ? float.PositiveInfinity : row[c];
                if (count == k && value <= best[k - 1]) continue;
                int at = count < k ? count++ : k - 1;
                for (; at > 0 && value > best[at - 1]; at--)
                    (best[at], chosen[at]) = (best[at - 1], chosen[at - 1]);
                (best[at], chosen[at]) = (value, c);
            }

            for (int i = 0; i < k; i++)
                if (float.IsInfinity(best[i])) chosen[i] = -1;
            Write(chosen, columns.SliceRows(t, 1));
            Write(best, values.SliceRows(t, 1));
        }
    }

    /// <summary>Copies values in.</summary>
    /// <param name="values">[rows x columns].</param>
    /// <param name="y">The destination, float32.</param>
    public abstract void Write(ReadOnlySpan<float> values, Tensor y);

    /// <summary>Copies ids in.</summary>
    /// <param name="values">[rows x columns].</param>
    /// <param name="y">The destination, int32.</param>
    public abstract void Write(ReadOnlySpan<int> values, Tensor y);

    /// <summary>y = x. The two do not overlap.</summary>
    /// <param name="x">[rows x columns], float32.</param>
    /// <param name="y">[rows x columns], overwritten.</param>
    public abstract void Copy(Tensor x, Tensor y);

    /// <summary>Waits for all work that was enqueued and copies values out.</summary>
    /// <param name="x">The source, float32.</param>
    /// <param name="values">[rows x columns], overwritten.</param>
    public abstract void Read(Tensor x, Span<float> values);

    /// <summary>Waits for all work that was enqueued and copies ids out.</summary>
    /// <param name="x">The source, int32.</param>
    /// <param name="values">[rows x columns], overwritten.</param>
    public abstract void Read(Tensor x, Span<int> values);

    /// <summary>Stops threads, frees what the backend itself holds. Weights, tensors and caches are freed before.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Stops threads, frees what the backend itself holds.</summary>
    /// <param name="disposing">False when called by a finalizer.</param>
    protected abstract void Dispose(bool disposing);
}
