using System.Globalization;

namespace Nibble.Quantize.Import;

/// <summary>The tokens of a model, id by id, while they are collected.</summary>
/// <param name="count">Ids that the model has.</param>
internal sealed class TokenList(int count)
{
    private readonly string?[] _texts = new string?[count];
    private readonly Dictionary<string, int> _ids = new(StringComparer.Ordinal);

    /// <summary>Spellings; complete after <see cref="Fill"/>.</summary>
    public string[] Texts => _texts!;

    /// <summary>Scores.</summary>
    public float[] Scores { get; } = new float[count];

    /// <summary>GGUF's numbers of types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.</summary>
    public int[] Types { get; } = new int[count];

    /// <summary>Whether a token that is not marked as special is one by its spelling: models forget to mark some.</summary>
    /// <remarks>Source: llama.cpp v0.5.0, conversion/base.py, does_token_look_special.</remarks>
    public static bool LooksSpecial(string text) =>
        text is "<pad>" or "<mask>" or "<2mass>" or "[@BOS@]"
        || (text.StartsWith("<|", StringComparison.Ordinal) && text.EndsWith("|>", StringComparison.Ordinal))
        || (text.StartsWith("<\uFF5C", StringComparison.Ordinal) && text.EndsWith("\uFF5C>", StringComparison.Ordinal))
        || (text.StartsWith("<unused", StringComparison.Ordinal) && text.EndsWith('>'));

    /// <summary>Sets a token; a later one takes an earlier one's place.</summary>
    /// <exception cref="ImportException">The model has no such id.</exception>
    public void Set(string file, int id, string text, int type, float score)
    {
        if (id >= count) throw new ImportException(file, $"token '{text}' has the id {id}; config.json's vocab_size is {count}, so ids go to {count - 1}.");
        if (_texts[id] is { } before && _ids.TryGetValue(before, out int known) && known == id) _ids.Remove(before);
        _texts[id] = text;
        Types[id] = type;
        Scores[id] = score;
        _ids[text] = id;
    }

    /// <summary>The type of a token; 0 where there is none.</summary>
    public int TypeOf(int id) => id < count ? Types[id] : 0;

    /// <summary>The id of a spelling, or null.</summary>
    public int? Find(string text) => _ids.TryGetValue(text, out int id) ? id : null;

    /// <summary>Gives ids without a token an unused one.</summary>
    public void Fill()
    {
        for (int id = 0; id < count; id++)
        {
            if (_texts[id] is not null) continue;
            _texts[id] = string.Create(CultureInfo.InvariantCulture, $"[PAD{id}]");
            Types[id] = 5;
            Scores[id] = -10000;
        }
    }
}
