using System.Globalization;
using Nibble.Core.Gguf;

namespace Nibble.Testing;

/// <summary>A tiny model of an architecture, described by its keys: its tensors follow from the architecture, its weights from <see cref="Seed"/>.</summary>
public sealed class Specimen
{
    /// <summary>Seed of every specimen's weights.</summary>
    public const ulong Seed = 20251128;

    /// <summary>Positions of the sessions that specimens run in.</summary>
    public const int Context = 512;

    private const int Vocabulary = 96;

    // Sizes that differ from one another wherever an architecture allows it, and numbers of which none is neutral.
    private static readonly (string Key, GgufValue Value)[] Common =
    [
        ("context_length", 512u),
        ("block_count", 6u),
        ("embedding_length", 64u),
        ("feed_forward_length", 96u),
        ("attention.head_count", 4u),
        ("attention.head_count_kv", 2u),
        ("attention.key_length", 24u),
        ("attention.value_length", 24u),
        ("attention.layer_norm_rms_epsilon", 0.02f),
        ("attention.layer_norm_epsilon", 0.05f),
        ("rope.dimension_count", 16u),
        ("rope.freq_base", 500f),
    ];

    private readonly (string Key, GgufValue? Value)[] _keys;

    /// <summary>Describes one.</summary>
    /// <param name="architecture">The architecture.</param>
    /// <param name="keys">Keys without the architecture's name, on top of those that all specimens have; a null takes one away. Whole numbers become uint32.</param>
    public Specimen(string architecture, params (string Key, GgufValue? Value)[] keys)
    {
        Architecture = architecture;
        _keys = keys;
    }

    /// <summary>The value of <c>general.architecture</c>.</summary>
    public string Architecture { get; }

    /// <summary>What tells it from other specimens of the architecture; empty for the first.</summary>
    public string Variant { get; init; } = string.Empty;

    /// <summary>Optional tensors that it has though models usually have them not, by parts of their names.</summary>
    public string[] With { get; init; } = [];

    /// <summary>Optional tensors that it has not, by parts of their names.</summary>
    public string[] Without { get; init; } = [];

    /// <summary>Rows of tensors that an architecture has in two shapes, by parts of their names.</summary>
    public (string Part, int Rows)[] Shapes { get; init; } = [];

    /// <summary>Tensors of every layer that the architecture passes over, though llama.cpp wants them: names after <c>blk.N.</c>.</summary>
    public (string Name, int Columns, int Rows)[] Others { get; init; } = [];

    /// <summary>Architecture and variant, as the golden is named.</summary>
    public string Name => Variant.Length == 0 ? Architecture : $"{Architecture}.{Variant}";

    /// <summary>The ids that specimens are run on: longer than their windows and original contexts.</summary>
    public static int[] Prompt { get; } = MakePrompt();

    /// <summary>The positions whose logits the goldens hold.</summary>
    public static int[] Positions { get; } = [.. Enumerable.Range(0, Prompt.Length).Where(position => position % 8 == 0 || position >= Prompt.Length - 6)];

    /// <summary>The metadata.</summary>
    public IReadOnlyList<KeyValuePair<string, GgufValue>> Metadata
    {
        get
        {
            OrderedDictionary<string, GgufValue> entries = [];
            entries["general.architecture"] = Architecture;
            foreach ((string key, GgufValue? value) in Common.Select(entry => (entry.Key, (GgufValue?)entry.Value)).Concat(_keys))
            {
                string name = $"{Architecture}.{key}";
                if (value is not { } present) entries.Remove(name);
                else entries[name] = present.Type == GgufValueType.Int32 ? uint.Parse(present.ToString(), CultureInfo.InvariantCulture) : present;
            }

            // The tokenizer that llama.cpp's own tests of architectures use.
            entries["tokenizer.ggml.model"] = "test";
            entries["tokenizer.ggml.tokens"] = GgufValue.Array([.. Enumerable.Range(0, Vocabulary).Select(id => $"tok_{id}")]);
            entries["tokenizer.ggml.scores"] = GgufValue.Array(new float[Vocabulary]);
            return [.. entries];
        }
    }

    /// <summary>The value of a key, or null.</summary>
    /// <param name="key">The key without the architecture's name.</param>
    public GgufValue? Value(string key)
    {
        foreach ((string name, GgufValue value) in Metadata)
            if (name == $"{Architecture}.{key}") return value;
        return null;
    }

    /// <summary>Whether it has a tensor that its architecture can do without.</summary>
    /// <param name="tensor">The tensor's name.</param>
    /// <param name="isUsual">Whether models usually have it.</param>
    public bool Has(string tensor, bool isUsual)
    {
        bool Names(string part) => tensor.Contains(part, StringComparison.Ordinal);
        return !Array.Exists(Without, Names) && (isUsual || Array.Exists(With, Names));
    }

    /// <summary>Rows of a tensor that its architecture has in two shapes; 0 for the usual one.</summary>
    /// <param name="tensor">The tensor's name.</param>
    public int RowsOf(string tensor) => Array.Find(Shapes, shape => tensor.Contains(shape.Part, StringComparison.Ordinal)).Rows;

    /// <inheritdoc/>
    public override string ToString() => Name;

    private static int[] MakePrompt()
    {
        int[] ids = new int[80];
        ulong state = Seed;
        foreach (ref int id in ids.AsSpan())
        {
            // Knuth's MMIX constants.
            state = unchecked((state * 6364136223846793005) + 1442695040888963407);
            id = (int)((state >> 33) % Vocabulary);
        }

        return ids;
    }
}
