using Nibble.Core.Compute;
using Nibble.Core.Gguf;
using Nibble.Cpu.Packed;

namespace Nibble.Cpu.Caching;

/// <summary>The packed weights of one model while it is loaded: takes those that a file beside it has, and writes the file where it has not all of them.</summary>
/// <remarks>
/// A weight is taken when its tensor is what it was packed from: of the same name, format and shape, and the same bytes. Where the model's files have the size and date that they had then, only the
/// first and last page of a tensor are compared, else all of it. The packed bytes are compared with their hash always. Packed orders do not depend on the processor, so one file serves all paths.
/// </remarks>
internal sealed unsafe class WeightCache : IDisposable
{
    private readonly GgufFile _model;
    private readonly Func<nint, long, ulong> _hash;
    private readonly string _path;
    private readonly ulong _stamp;
    private readonly bool _isOld, _isSameFile;
    private readonly PackedFile? _packed;

    // What the file gave is here with its entry, all else without.
    private readonly Dictionary<string, (CpuWeight Weight, PackedEntry? Entry)> _weights = new(StringComparer.Ordinal);
    private string? _problem;

    /// <summary>Opens the file of a model, if there is one.</summary>
    /// <param name="model">The model.</param>
    /// <param name="hash">Hashes bytes of an address and a length.</param>
    public WeightCache(GgufFile model, Func<nint, long, ulong> hash)
    {
        (_model, _hash, _path) = (model, hash, PackedFile.PathOf(model));
        _stamp = Stamp(out _isOld);
        _packed = PackedFile.Open(_path, out _problem);
        _isSameFile = _packed is not null && _stamp != 0 && _packed.Stamp == _stamp;
    }

    /// <summary>Whether the file has a weight of this name, format and shape, which is not yet compared.</summary>
    public bool Has(IWeightSource source) => _packed?.Find(source.Name) is { } entry && entry.Fits(source.Name, source.Format.Name, source.Columns, source.Rows, source.Matrices);

    /// <summary>Takes a weight from the file.</summary>
    /// <param name="weight">The weight, not yet packed.</param>
    /// <param name="kernel">Its kernels.</param>
    /// <returns>Whether the file had it; if not, the caller packs it and calls <see cref="Add"/>.</returns>
    public bool Take(CpuWeight weight, PackedKernel kernel)
    {
        if (_packed is null) return false;
        PackedEntry? entry = _packed.Find(weight.Name);
        string? problem = entry is null || !entry.Fits(weight.Name, weight.Format.Name, weight.Columns, weight.Rows, weight.Matrices)
            ? $"it has no '{weight.Name}' of this format and shape"
            : Compare(weight, entry, kernel);
        if (problem is not null)
        {
            _problem ??= problem;
            return false;
        }

        if (entry!.Length > 0) weight.Packed = new PackedMatrix(kernel, weight.Columns, weight.Rows, weight.Matrices, _packed, entry);
        else weight.IsUnpackable = true;
        _weights[weight.Name] = (weight, entry);
        return true;
    }

    /// <summary>Remembers a weight that was packed, or found to have no packed order.</summary>
    public void Add(CpuWeight weight) => _weights[weight.Name] = (weight, null);

    /// <summary>Writes the file anew if something was not in it.</summary>
    /// <returns>What happened.</returns>
    public WeightCacheReport Finish()
    {
        long mapped = _weights.Values.Sum(weight => weight.Entry?.Length ?? 0), written = 0;
        string? problem = _problem is null ? null : $"'{Path.GetFileName(_path)}' was not used as it is: {_problem}";
        if (_weights.Count == 0)
        {
            problem = "no weight of this model is packed in an order that is kept (--cache-weights); encoded tensors are packed anew by every load";
        }
        else if (_packed is null || _weights.Values.Any(weight => weight.Entry is null))
        {
            string? failure = Write(ref written);
            problem = failure is null ? problem is null ? null : $"{problem}. It was written anew." : $"{(problem is null ? null : problem + "; and ")}{failure}. Weights that it did not give were packed in memory.";
        }
        else if (!_isSameFile && _isOld && Stamp(out _) == _stamp)
        {
            _packed.Restamp(_stamp);
        }

        return new WeightCacheReport { Path = _path, MappedBytes = mapped, WrittenBytes = written, Problem = problem };
    }

    /// <summary>Closes the file; weights that were taken from it keep its mapping.</summary>
    public void Dispose() => _packed?.Release();

    private string? Compare(CpuWeight weight, PackedEntry entry, PackedKernel kernel)
    {
        byte* source = weight.Matrix(0);
        long bytes = weight.RowBytes * weight.Rows * weight.Matrices;
        if (entry.Ends != PackedEntry.EndsOf(source, bytes) || (!_isSameFile && entry.Source != _hash((nint)source, bytes))) return $"the model's '{weight.Name}' has changed since it was written";
        bool isWhole = entry.Length == 0 || (entry.Length == PackedMatrix.Bytes(kernel, weight.Columns, weight.Rows, weight.Matrices) && entry.Packed == _hash((nint)_packed!.Data(entry), entry.Length));
        return isWhole ? null : $"its '{weight.Name}' is damaged";
    }

    // Null when it was written.
    private string? Write(ref long written)
    {
        string name = $"'{Path.GetFileName(_path)}'";
        if (_stamp == 0 || Stamp(out _) != _stamp) return $"{name} was not written, for the model's file changed while it was loaded";
        try
        {
            List<(PackedEntry Entry, nint Data)> weights = [];
            foreach ((CpuWeight weight, PackedEntry? entry) in _weights.Values)
                weights.Add((entry ?? EntryOf(weight), weight.Packed is null ? 0 : (nint)weight.Packed.Matrix(0)));
            written = PackedFileWriter.Write(_path, _isOld ? _stamp : 0, weights);
            return null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"{name} cannot be written ({error.Message})";
        }
    }

    private PackedEntry EntryOf(CpuWeight weight)
    {
        byte* source = weight.Matrix(0);
        long bytes = weight.RowBytes * weight.Rows * weight.Matrices, length = weight.Packed?.Length ?? 0;
        return new PackedEntry
        {
            Name = weight.Name,
            Format = weight.Format.Name,
            Columns = weight.Columns,
            Rows = weight.Rows,
            Matrices = weight.Matrices,
            Offset = 0,
            Length = length,
            Ends = PackedEntry.EndsOf(source, bytes),
            Source = _hash((nint)source, bytes),
            Packed = length == 0 ? 0 : _hash((nint)weight.Packed!.Matrix(0), length),
        };
    }

    // 0 where the files cannot be looked at.
    private ulong Stamp(out bool isOld)
    {
        try
        {
            return PackedFile.StampOf(_model, out isOld);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            isOld = false;
            return 0;
        }
    }
}
