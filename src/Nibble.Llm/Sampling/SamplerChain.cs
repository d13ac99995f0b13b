namespace Nibble.Llm.Sampling;

/// <summary>Draws tokens from logits: logit bias, the samplers of a sequence, then a draw. One chain serves one text at a time and is not thread-safe.</summary>
/// <remarks>After construction no call on a token's way allocates managed memory.</remarks>
public sealed class SamplerChain
{
    private const uint StateMagic = 0x3153424E; // "NBS1" in a file
    private readonly CandidateSet _candidates;
    private readonly Sampler[] _samplers;
    private readonly Selector _selector;
    private readonly RandomSource _random;
    private readonly string _signature;

    /// <summary>Makes the chain that the options describe.</summary>
    /// <param name="options">Read once; later changes to them do not reach the chain.</param>
    /// <param name="vocabularySize">The number of logits of a position.</param>
    /// <param name="vocabulary">The tokenizer's pieces; needed when DRY is on and has breakers.</param>
    /// <exception cref="ArgumentException">An option is out of range, or DRY lacks the vocabulary.</exception>
    public SamplerChain(SamplingOptions options, int vocabularySize, ISamplerVocabulary? vocabulary = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        _candidates = new CandidateSet(vocabularySize);
        SamplerContext context = new(vocabularySize, vocabulary);
        Sampler? last = Samplers.All.Where(row => row.Place == SamplerPlace.Last).Select(row => row.Create(options, context)).FirstOrDefault(sampler => sampler is not null);
        IEnumerable<SamplerDescription> rows = Samplers.All.Where(row => row.Place == SamplerPlace.First)
            .Concat(last is null ? options.Sequence : [TemperatureSampler.Description]);
        _samplers = [.. rows.Select(row => row.Create(options, context)).OfType<Sampler>()];
        _selector = (Selector?)last ?? new DrawSelector();
        _signature = Signature();
        IsGreedy = TakesBest();
        Seed = options.Seed >= 0 ? (uint)options.Seed : (uint)Random.Shared.NextInt64(1L << 32);
        _random = new RandomSource(Seed);
    }

    /// <summary>Makes a chain of given samplers.</summary>
    /// <param name="samplers">The steps, in order; the chain owns them.</param>
    /// <param name="selector">The last step.</param>
    /// <param name="vocabularySize">The number of logits of a position.</param>
    /// <param name="seed">The random seed.</param>
    public SamplerChain(IEnumerable<Sampler> samplers, Selector selector, int vocabularySize, uint seed)
    {
        ArgumentNullException.ThrowIfNull(samplers);
        ArgumentNullException.ThrowIfNull(selector);
        _candidates = new CandidateSet(vocabularySize);
        _samplers = [.. samplers];
        _selector = selector;
        _signature = Signature();
        IsGreedy = TakesBest();
        Seed = seed;
        _random = new RandomSource(seed);
    }

    private SamplerChain(SamplerChain other)
    {
        _candidates = new CandidateSet(other._candidates.VocabularySize);
        _samplers = [.. other._samplers.Select(sampler => sampler.Clone())];
        _selector = (Selector)other._selector.Clone();
        _random = other._random.Clone();
        _signature = other._signature;
        IsGreedy = other.IsGreedy;
        Seed = other.Seed;
    }

    /// <summary>The seed in use; where the options left it to the system, the one drawn.</summary>
    public uint Seed { get; }

    /// <summary>Whether the token of the highest logit is always drawn, of equals that of the lowest id, so that <see cref="Take"/> can stand for <see cref="Sample"/>.</summary>
    public bool IsGreedy { get; }

    /// <summary>The number of logits of a position.</summary>
    public int VocabularySize => _candidates.VocabularySize;

    /// <summary>The candidates that the last <see cref="Apply"/> or <see cref="Sample"/> left, with probabilities that sum to 1, in no particular order.</summary>
    public ReadOnlySpan<Candidate> Candidates => _candidates.Active;

    /// <summary>Runs all samplers on the logits of a position, without drawing.</summary>
    /// <param name="logits">[vocabulary] logits; finite, or minus infinity for a token that must not come, as a grammar's mask sets.</param>
    /// <exception cref="ArgumentException">The length is wrong, or a logit is NaN or plus infinity.</exception>
    /// <exception cref="InvalidOperationException">No token can be drawn.</exception>
    public void Apply(ReadOnlySpan<float> logits)
    {
        _candidates.Fill(logits);
        foreach (Sampler sampler in _samplers) sampler.Apply(_candidates, _random);
        _selector.Apply(_candidates, _random);
    }

    /// <summary>Draws the next token. It does not yet count as part of the text: see <see cref="Accept"/>.</summary>
    /// <inheritdoc cref="Apply"/>
    /// <returns>The token's id.</returns>
    public int Sample(ReadOnlySpan<float> logits)
    {
        Apply(logits);
        return _candidates.Active[_selector.Select(_candidates, _random)].Id;
    }

    /// <summary>Draws the token of the highest logit, as <see cref="Sample"/> does in a chain that <see cref="IsGreedy"/>, where somebody else found it.</summary>
    /// <param name="id">The token's id.</param>
    /// <param name="logit">Its logit.</param>
    /// <returns>The token's id.</returns>
    /// <exception cref="InvalidOperationException">The chain does not always draw it.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The token is not in the vocabulary.</exception>
    /// <exception cref="ArgumentException">The logit is no finite number.</exception>
    public int Take(int id, float logit)
    {
        if (!IsGreedy) throw new InvalidOperationException("The chain does not always draw the token of the highest logit; give it all logits.");
        _candidates.Fill(id, logit);
        _selector.Apply(_candidates, _random);
        return _candidates.Active[_selector.Select(_candidates, _random)].Id;
    }

    /// <summary>Appends a token to the text that penalties and DRY look at. Call it for the prompt's tokens too.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The token is not in the vocabulary.</exception>
    public void Accept(int id)
    {
        if ((uint)id >= (uint)VocabularySize) throw new ArgumentOutOfRangeException(nameof(id), id, $"Token {id} is not in the vocabulary, whose ids are 0 to {VocabularySize - 1}.");
        foreach (Sampler sampler in _samplers) sampler.Accept(id);
        _selector.Accept(id);
    }

    /// <summary>Forgets the text and starts the random numbers over.</summary>
    public void Reset()
    {
        foreach (Sampler sampler in _samplers) sampler.Reset();
        _selector.Reset();
        _random.Seed(Seed);
    }

    /// <summary>A chain that continues as this one does, apart from it.</summary>
    public SamplerChain Clone() => new(this);

    /// <summary>Writes the random state, the text's memory and Mirostat's bound, little-endian.</summary>
    public void WriteState(BinaryWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Write(StateMagic);
        writer.Write(_signature);
        (ulong s0, ulong s1, ulong s2, ulong s3) = _random.State;
        writer.Write(s0);
        writer.Write(s1);
        writer.Write(s2);
        writer.Write(s3);
        foreach (Sampler sampler in _samplers) sampler.WriteState(writer);
        _selector.WriteState(writer);
    }

    /// <summary>Continues from what <see cref="WriteState"/> wrote, in a chain of the same samplers.</summary>
    /// <exception cref="InvalidDataException">The state is damaged or of a chain with other samplers or another vocabulary; this chain is then reset.</exception>
    public void ReadState(BinaryReader reader)
    {
        ArgumentNullException.ThrowIfNull(reader);
        try
        {
            uint magic = reader.ReadUInt32();
            if (magic != StateMagic) throw new InvalidDataException($"A sampler state starts with {StateMagic:X8}; this starts with {magic:X8}. It is damaged or no sampler state.");
            string signature = ReadSignature(reader);
            if (signature != _signature) throw new InvalidDataException($"The sampler state is of the chain '{signature}'; this chain is '{_signature}'. Use the settings it was saved with.");
            var state = (reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadUInt64(), reader.ReadUInt64());
            if (state == default) throw new InvalidDataException("The sampler state holds no random state. It is damaged.");
            _random.State = state;
            foreach (Sampler sampler in _samplers) sampler.ReadState(reader);
            _selector.ReadState(reader);
        }
        catch (Exception e) when (e is EndOfStreamException or InvalidDataException or FormatException)
        {
            Reset();
            if (e is InvalidDataException) throw;
            throw new InvalidDataException("The sampler state ends early or holds a broken length. It is damaged.", e);
        }
    }

    private bool TakesBest() => _selector is DrawSelector && Array.TrueForAll(_samplers, sampler => sampler.KeepsBest) && Array.Exists(_samplers, sampler => sampler.IsGreedy);

    private string Signature() => $"{VocabularySize};{string.Join(';', _samplers.Append(_selector).Select(sampler => sampler.GetType().Name))}";

    // BinaryReader.ReadString trusts its length; a damaged one must not make it allocate gigabytes.
    private static string ReadSignature(BinaryReader reader)
    {
        int length = reader.Read7BitEncodedInt();
        if (length is < 0 or > 1024) throw new InvalidDataException($"The sampler state names its chain in {length} bytes, more than 1024. It is damaged.");
        byte[] bytes = reader.ReadBytes(length);
        if (bytes.Length < length) throw new EndOfStreamException();
        return System.Text.Encoding.UTF8.GetString(bytes);
    }
}
