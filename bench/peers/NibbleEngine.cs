using Nibble;
using Nibble.Core.Formats;
using Nibble.Core.Gguf;
using Nibble.Llm.Sessions;

namespace Peers;

/// <summary>Nibble on its CPU backend.</summary>
internal sealed class NibbleEngine : Engine
{
    private readonly Model _model;
    private readonly Session _session;
    private readonly Loading _loading;
    private readonly BlockFormat _kv;

    /// <summary>Loads a model.</summary>
    /// <param name="group">What is measured.</param>
    /// <param name="path">The instruction path to force, or null.</param>
    public NibbleEngine(Group group, string? path)
    {
        _kv = BlockFormats.Find(group.Kv) ?? throw new PeerException($"Nibble knows no format '{group.Kv}'.");
        (_model, _loading) = Loading.Watch(() => Model.Load(group.Model, new LoadOptions { Device = "cpu", DeviceOptions = new DeviceOptions { Threads = group.Threads, CpuPath = path } }));
        _session = _model.Language.NewSession(new SessionOptions { Context = group.Positions, KvFormat = _kv });
    }

    /// <inheritdoc/>
    public override int Vocabulary => _model.Language.VocabularySize;

    /// <inheritdoc/>
    public override Loaded Describe() =>
        new(_model.Language.Backend.Description, _loading.Seconds, _loading.PeakBytes, Machine.AnonymousBytes(), WeightBytes(_model.Language.File),
            (_model.Language.KvBytes(_session.Capacity + 1024, _kv) - _model.Language.KvBytes(_session.Capacity, _kv)) / 1024.0);

    /// <inheritdoc/>
    public override void Seek(int depth)
    {
        if (_session.Length > depth) _session.Rewind(depth);
        if (_session.Length < depth) _session.Evaluate(Worker.Ids(depth - _session.Length, Vocabulary));
    }

    /// <inheritdoc/>
    public override void Append(ReadOnlySpan<int> ids) => _session.Evaluate(ids);

    /// <inheritdoc/>
    public override void Dispose()
    {
        _session.Dispose();
        _model.Dispose();
    }

    // All matrices but tables of embeddings, of which a token reads a row; of experts those that a token uses.
    private static long WeightBytes(GgufFile file)
    {
        string architecture = file.Metadata.GetString("general.architecture");
        double used = file.Metadata.GetInt32($"{architecture}.expert_used_count", 0), all = file.Metadata.GetInt32($"{architecture}.expert_count", 0);
        bool isTied = file.Find("output.weight") is null;
        double bytes = 0;
        foreach (GgufTensor tensor in file.Tensors.Where(tensor => tensor.Dimensions.Length > 1))
        {
            bool isTable = tensor.Name.EndsWith("_embd.weight", StringComparison.Ordinal) && !(isTied && tensor.Name == "token_embd.weight");
            if (!isTable) bytes += tensor.Name.Contains("_exps.", StringComparison.Ordinal) && all > 0 ? tensor.ByteLength * used / all : tensor.ByteLength;
        }

        return (long)bytes;
    }
}
