using System.Buffers.Binary;
using System.Collections.Immutable;
using Nibble.Core.Compute;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;

namespace Nibble.Llm.Models;

/// <summary>A tensor of a <see cref="SyntheticModel"/>.</summary>
/// <param name="Name">Name.</param>
/// <param name="Columns">Values in a row.</param>
/// <param name="Rows">Rows of a matrix; 1 for a vector.</param>
/// <param name="Matrices">Matrices; 1 unless it holds experts.</param>
/// <param name="Use">What the architecture does with it.</param>
public sealed record SyntheticTensor(string Name, int Columns, int Rows, int Matrices, Operation Use = Operation.MatMul)
{
    // llama.cpp counts dimensions: those of 1 at the end do not belong there.
    internal long[] Dimensions => Matrices > 1 ? [Columns, Rows, Matrices] : Rows > 1 ? [Columns, Rows] : [Columns];
}

/// <summary>
/// A model of random weights, described by nothing but its metadata: the architecture's own definition is asked which tensors it reads. The same metadata, formats and seed give the same
/// bytes on every platform.
/// </summary>
public sealed class SyntheticModel
{
    private static readonly string[] Unusual = ["attn_qkv.weight", "ffn_gate_up_exps.weight", "rope_freqs.", "rope_factors_", ".scale"];

    private readonly ImmutableArray<KeyValuePair<string, GgufValue>> _metadata;

    /// <summary>Asks an architecture which tensors a model of some metadata has.</summary>
    /// <param name="metadata">Keys and values of the file, <c>general.architecture</c> and <c>tokenizer.ggml.tokens</c> among them.</param>
    /// <param name="hasTensor">Whether the file has a tensor that the architecture can do without, by name; null for <see cref="HasByDefault"/>.</param>
    /// <param name="rowsOf">Rows of a tensor that an architecture has in one of two shapes, by name; 0, or null for all, for the usual shape.</param>
    /// <param name="others">Tensors that the architecture passes over, null for none.</param>
    /// <exception cref="GgufException">The metadata describes no model that runs.</exception>
    public SyntheticModel(
        IEnumerable<KeyValuePair<string, GgufValue>> metadata, Func<string, bool>? hasTensor = null, Func<string, int>? rowsOf = null, IEnumerable<SyntheticTensor>? others = null)
    {
        ArgumentNullException.ThrowIfNull(metadata);
        _metadata = [.. metadata];
        string path = Path.Combine(Path.GetTempPath(), $"nibble-{Guid.NewGuid():N}.gguf");
        SpecimenReader? reader = null;
        try
        {
            Writer().Write(path);
            using GgufFile file = GgufFile.Open(path);
            using ReferenceBackend backend = new();
            reader = new SpecimenReader(file, backend, file.Metadata.GetStrings("tokenizer.ggml.tokens").Count, hasTensor ?? HasByDefault, rowsOf);
            Architectures.Build(file, reader);
        }
        finally
        {
            foreach (Weight weight in reader?.Weights ?? [])
                weight.Dispose();
            File.Delete(path);
        }

        Tensors = [.. reader.Taken.Values, .. others ?? []];
        Keys = reader.Keys.ToImmutableSortedSet(StringComparer.Ordinal);
        OptionalTensors = reader.Optional.ToImmutableSortedSet(StringComparer.Ordinal);
    }

    /// <summary>The tensors, in the order in which the architecture reads them; then those that it passes over.</summary>
    public ImmutableArray<SyntheticTensor> Tensors { get; }

    /// <summary>The keys of its own that the architecture looks for, whether the metadata has them or not.</summary>
    public ImmutableSortedSet<string> Keys { get; }

    /// <summary>The tensors that the architecture can do without, whether the model has them or not.</summary>
    public ImmutableSortedSet<string> OptionalTensors { get; }

    /// <summary>Whether a model has a tensor that its architecture can do without: biases and norms yes; fused matrices, scales, frequency factors and an output matrix no.</summary>
    /// <param name="name">The tensor's name.</param>
    public static bool HasByDefault(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name != "output.weight" && !Array.Exists(Unusual, part => name.Contains(part, StringComparison.Ordinal));
    }

    /// <summary>Writes the model in float32, its weights spread so that every tensor of a small model matters for its logits.</summary>
    /// <param name="path">The file; an existing one is replaced.</param>
    /// <param name="seed">What the weights follow from, together with the tensors' names.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Write(string path, ulong seed)
    {
        GgufWriter writer = Writer();
        foreach (SyntheticTensor tensor in Tensors)
            writer.AddTensor(tensor.Name, BlockFormats.F32, tensor.Dimensions, stream => WriteWeights(stream, tensor, seed));

        writer.Write(path);
    }

    /// <summary>
    /// Writes the model in any formats, for benchmarks: matrices are random blocks whose values have the deviation 1 / sqrt(columns), so that states neither grow nor shrink much; gains of norms
    /// are 1; other vectors are as in the float32 model. The model is never in memory.
    /// </summary>
    /// <param name="path">The file; an existing one is replaced when the new one is whole.</param>
    /// <param name="seed">What the weights follow from, together with the tensors' names.</param>
    /// <param name="formats">The formats.</param>
    /// <param name="threads">Threads; 0 for one a core. They do not matter for the bytes.</param>
    /// <param name="progress">Told the share that is done, 0 to 1; null for nobody.</param>
    /// <param name="cancellation">Stops the writing; no file is left.</param>
    /// <exception cref="ArgumentException">A row is no multiple of its format's block.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="OperationCanceledException">It was stopped.</exception>
    public void Write(string path, ulong seed, SyntheticFormats formats, int threads = 0, IProgress<double>? progress = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(formats);
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        foreach (SyntheticTensor tensor in Tensors)
            formats.Check(tensor);
        long total = Tensors.Sum(tensor => formats.Of(tensor).RowBytes(tensor.Columns) * tensor.Rows * tensor.Matrices);
        SyntheticStream stream = new(seed, threads == 0 ? Environment.ProcessorCount : threads, bytes => progress?.Report((double)bytes / total), cancellation);
        GgufWriter writer = Writer();
        foreach (SyntheticTensor tensor in Tensors)
        {
            BlockFormat format = formats.Of(tensor);
            writer.AddTensor(tensor.Name, format, tensor.Dimensions, output => stream.Write(output, tensor, format));
        }

        writer.Write(path);
    }

    private static void WriteWeights(Stream stream, SyntheticTensor tensor, ulong seed)
    {
        SyntheticWeights weights = new(tensor.Name, tensor.Columns, seed);
        byte[] row = new byte[sizeof(float) * tensor.Columns];
        for (long i = 0; i < (long)tensor.Rows * tensor.Matrices; i++)
        {
            for (int j = 0; j < tensor.Columns; j++)
                BinaryPrimitives.WriteSingleLittleEndian(row.AsSpan(sizeof(float) * j), weights.Next());
            stream.Write(row);
        }
    }

    private GgufWriter Writer()
    {
        GgufWriter writer = new();
        foreach ((string key, GgufValue value) in _metadata)
            writer.Set(key, value);
        return writer;
    }

    /// <summary>A reader of a file without tensors, which gives zeros for those that it is asked for and notes them.</summary>
    private sealed class SpecimenReader(GgufFile file, Backend backend, int vocabulary, Func<string, bool> hasTensor, Func<string, int>? rowsOf) : ModelReader(file, backend, null)
    {
        public OrderedDictionary<string, SyntheticTensor> Taken { get; } = [];

        public HashSet<string> Keys { get; } = [];

        public HashSet<string> Optional { get; } = [];

        public override bool Has(string tensor)
        {
            Optional.Add(tensor);
            return hasTensor(tensor);
        }

        public override int Rows(string tensor) => rowsOf?.Invoke(tensor) ?? 0;

        public override int VocabularySize() => vocabulary;

        protected override IWeightSource Take(string name, Operation operation, int columns, int rows, int matrices)
        {
            SyntheticTensor tensor = new(name, columns, rows, matrices, operation);
            if (!Taken.TryAdd(name, tensor) && Taken[name] with { Use = operation } != tensor)
                throw new InvalidOperationException($"{Architecture} reads tensor '{name}' in two shapes.");
            return new Zeros(name, columns, rows, matrices);
        }

        // Some vectors are divided by.
        protected override float[] Decode(IWeightSource source, int count)
        {
            float[] ones = new float[count];
            Array.Fill(ones, 1);
            return ones;
        }

        protected override string Key(string key)
        {
            string name = base.Key(key);
            Keys.Add(name);
            return name;
        }
    }
}
