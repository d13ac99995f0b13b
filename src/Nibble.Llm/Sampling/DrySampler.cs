using System.Text;

namespace Nibble.Llm.Sampling;

/// <summary>DRY ("don't repeat yourself", p-e-w, 2024): makes a token less likely the longer the repetition that it would continue.</summary>
/// <remarks>The penalty of a token is multiplier * base^(length - allowed length), where length is that of the longest end of the text that stands earlier in it, followed by the token, with no breaker in it.</remarks>
public sealed class DrySampler : Sampler
{
    /// <summary>The table's line.</summary>
    public static SamplerDescription Description { get; } = new()
    {
        Name = "dry",
        Letter = 'd',
        Summary = "makes tokens that continue a repetition less likely",
        Parameters =
        [
            new NumberParameter<float>("--dry-multiplier", o => o.DryMultiplierSetting, 0, float.MaxValue, "strength of DRY; 0: off"),
            new NumberParameter<float>("--dry-base", o => o.DryBaseSetting, 1, float.MaxValue, "base raised to the length of the repetition beyond the allowed"),
            new NumberParameter<int>("--dry-allowed-length", o => o.DryAllowedLengthSetting, 0, int.MaxValue, "repetition that DRY starts to penalize, in tokens"),
            new NumberParameter<int>("--dry-penalty-last-n", o => o.DryPenaltyLastNSetting, 0, SamplingLimits.HistoryTokens, "last tokens that DRY looks at; 0: off"),
            new TextParameter<IReadOnlyList<string>>("--dry-sequence-breaker", "TEXT", o => o.DrySequenceBreakersSetting, @"text that ends a repetition, with \n, \r, \t, \\ as escapes; the first replaces the defaults, none clears", repeatable: true)
            {
                Read = (setting, text) => text == "none" ? [] : [.. setting.IsExplicit ? setting.Value : [], Unescape(text)],
                Write = breakers => breakers.Count == 0 ? "none" : string.Join(' ', breakers.Select(Escape)),
                Fault = breakers => breakers.Any(text => Encoding.UTF8.GetByteCount(text) is 0 or > DryBreakers.MaxBytes) ? $"it must be a text of 1 to {DryBreakers.MaxBytes} UTF-8 bytes, or none." : null,
            },
        ],
        Create = (o, context) =>
        {
            if (o.DryMultiplier == 0 || o.DryPenaltyLastN == 0) return null;
            if (o.DrySequenceBreakers.Count > 0 && context.Vocabulary is null)
                throw new ArgumentException("DRY has sequence breakers, and no vocabulary to find their tokens in was given; pass the tokenizer's, or set no breakers.", nameof(context));
            DryBreakers breakers = context.Vocabulary is null ? DryBreakers.FromTokens([]) : DryBreakers.FromTexts(o.DrySequenceBreakers, context.Vocabulary);
            return new DrySampler(context.VocabularySize, o.DryMultiplier, o.DryBase, o.DryAllowedLength, o.DryPenaltyLastN, breakers);
        },
    };

    // Enough to make a probability 0, and far enough from infinity that the token stays drawable when it is the only one left.
    private const float MaxPenalty = 1e30f;

    private readonly float _multiplier, _base;
    private readonly int _allowedLength;
    private readonly DryBreakers _breakers;
    private readonly TokenRing _history;
    private readonly int[] _repeats; // [last n] for each distance from the end, how long an end of the text ends there too
    private readonly int[] _longest; // [vocabulary] the longest repetition that the token would continue, or -1

    /// <summary>Makes the sampler; see <see cref="SamplingOptions"/> for the values.</summary>
    public DrySampler(int vocabularySize, float multiplier, float @base, int allowedLength, int lastN, DryBreakers breakers)
    {
        (_multiplier, _base, _allowedLength, _breakers) = (multiplier, @base, allowedLength, breakers);
        _history = new TokenRing(lastN);
        _repeats = new int[lastN];
        _longest = new int[vocabularySize];
        _longest.AsSpan().Fill(-1);
    }

    /// <inheritdoc/>
    public override void Apply(CandidateSet candidates, RandomSource random)
    {
        int length = _history.Count;
        if (length <= _allowedLength) return;
        int limit = _breakers.TokensSinceBreaker(_history, length);
        if (limit < _allowedLength) return;

        FindRepeats(length);
        bool any = false;
        for (int distance = 1; distance < length; distance++)
        {
            int repeat = Math.Min(_repeats[distance], limit);
            if (repeat < _allowedLength) continue;
            ref int longest = ref _longest[_history.FromEnd(distance - 1)];
            longest = Math.Max(longest, repeat);
            any = true;
        }
        if (!any) return;

        foreach (ref Candidate candidate in candidates.Active)
        {
            int longest = _longest[candidate.Id];
            if (longest < 0 || _breakers.IsSingle(candidate.Id)) continue;
            candidate.Logit -= (float)Math.Min(_multiplier * Math.Pow(_base, longest - _allowedLength), MaxPenalty);
        }
        for (int distance = 0; distance < length; distance++) _longest[_history.FromEnd(distance)] = -1;
        candidates.IsSorted = false;
    }

    /// <inheritdoc/>
    public override void Accept(int id) => _history.Add(id);

    /// <inheritdoc/>
    public override void Reset() => _history.Clear();

    /// <inheritdoc/>
    public override Sampler Clone()
    {
        DrySampler clone = new(_longest.Length, _multiplier, _base, _allowedLength, _history.Capacity, _breakers);
        _history.CopyTo(clone._history);
        return clone;
    }

    /// <inheritdoc/>
    public override void WriteState(BinaryWriter writer) => _history.Write(writer);

    /// <inheritdoc/>
    public override void ReadState(BinaryReader reader)
    {
        Reset();
        _history.Read(reader, _longest.Length, Accept);
    }

    private static string Escape(string text) => text.Replace(@"\", @"\\").Replace("\n", @"\n").Replace("\r", @"\r").Replace("\t", @"\t");

    private static string Unescape(string text)
    {
        StringBuilder result = new(text.Length);
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                result.Append(text[i]);
                continue;
            }
            result.Append((++i < text.Length ? text[i] : '\0') switch
            {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                '\\' => '\\',
                _ => throw new FormatException(@"a backslash in it must start \n, \r, \t or \\."),
            });
        }
        return result.ToString();
    }

    // The Z-function (Gusfield 1997, 1.3) of the reversed text, in time linear in its length: [left, right) is the match found so far that reaches furthest.
    private void FindRepeats(int length)
    {
        int left = 0, right = 0;
        for (int i = 1; i < length; i++)
        {
            int match = i < right ? Math.Min(right - i, _repeats[i - left]) : 0;
            while (i + match < length && _history.FromEnd(match) == _history.FromEnd(i + match)) match++;
            _repeats[i] = match;
            if (i + match > right) (left, right) = (i, i + match);
        }
    }
}
