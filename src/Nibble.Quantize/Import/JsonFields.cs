using System.Text.Json;

namespace Nibble.Quantize.Import;

/// <summary>An object of a JSON file, read field by field. Errors name the file, the field, its value and what was expected.</summary>
internal sealed class JsonFields
{
    /// <summary>Bytes of the largest JSON file that is read; the vocabularies of today's models take some 30 MB.</summary>
    private const long MaxBytes = 512L << 20;

    private readonly string _path;
    private readonly JsonElement _element;

    private JsonFields(string file, string path, JsonElement element)
    {
        File = file;
        _path = path;
        _element = element;
    }

    /// <summary>The file's name without its folder.</summary>
    public string File { get; }

    /// <summary>The object as it stands in the file.</summary>
    public JsonElement Element => _element;

    /// <summary>The fields with their values, in the file's order.</summary>
    public IEnumerable<KeyValuePair<string, JsonElement>> All => _element.EnumerateObject().Select(one => KeyValuePair.Create(NameOf(one), one.Value));

    /// <summary>Reads a file.</summary>
    /// <exception cref="ImportException">It is missing, too large, or no JSON object.</exception>
    public static JsonFields Read(string path)
    {
        string name = Path.GetFileName(path);
        if (!System.IO.File.Exists(path)) throw new ImportException(name, "the file is missing; a Hugging Face folder has it.");
        long bytes = new FileInfo(path).Length;
        if (bytes > MaxBytes) throw new ImportException(name, $"the file has {bytes} bytes; at most {MaxBytes} are read.");
        return Parse(name, System.IO.File.ReadAllBytes(path));
    }

    /// <summary>Reads a file where it is there.</summary>
    /// <exception cref="ImportException">It is too large, or no JSON object.</exception>
    public static JsonFields? ReadIfThere(string path) => System.IO.File.Exists(path) ? Read(path) : null;

    /// <summary>Reads bytes.</summary>
    /// <param name="file">What errors call them.</param>
    /// <param name="utf8">The bytes.</param>
    /// <exception cref="ImportException">They are no JSON object.</exception>
    public static JsonFields Parse(string file, ReadOnlyMemory<byte> utf8)
    {
        if (utf8.Span.StartsWith("\uFEFF"u8)) utf8 = utf8[3..];
        JsonElement element;
        try
        {
            // The element is cloned, so that the document's buffers go back.
            using JsonDocument document = JsonDocument.Parse(utf8, new JsonDocumentOptions { MaxDepth = 64 });
            element = document.RootElement.Clone();
        }
        catch (JsonException error)
        {
            throw new ImportException(file, $"it is no JSON that can be read: {error.Message}");
        }

        return element.ValueKind == JsonValueKind.Object ? new JsonFields(file, string.Empty, element) : throw new ImportException(file, $"it holds a {element.ValueKind}; a JSON object is needed.");
    }

    /// <summary>Whether a field is there and not null.</summary>
    public bool Has(string name) => Find(name) is not null;

    /// <summary>A field's value; null where it is absent or null.</summary>
    public JsonElement? Find(string name)
    {
        try
        {
            return _element.TryGetProperty(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;
        }
        catch (InvalidOperationException)
        {
            throw NoName();
        }
    }

    /// <summary>A whole number.</summary>
    /// <param name="name">The field.</param>
    /// <param name="lowest">Bound.</param>
    /// <param name="highest">Bound.</param>
    /// <param name="fallback">Where the field is absent; null where it must be there.</param>
    public int Integer(string name, int lowest, int highest, int? fallback = null)
    {
        if (Find(name) is not { } value) return fallback ?? throw Missing(name);
        // Some tools write whole numbers as 128.0.
        double number = value.ValueKind == JsonValueKind.Number ? value.GetDouble() : throw Error(name, $"a whole number from {lowest} to {highest} is needed");
        return number >= lowest && number <= highest && number == Math.Floor(number) ? (int)number : throw Error(name, $"a whole number from {lowest} to {highest} is needed");
    }

    /// <summary>A whole number, or null where the field is absent.</summary>
    public int? FindInteger(string name, int lowest, int highest) => Has(name) ? Integer(name, lowest, highest) : null;

    /// <summary>A finite number.</summary>
    /// <param name="name">The field.</param>
    /// <param name="fallback">Where the field is absent; null where it must be there.</param>
    public double Number(string name, double? fallback = null)
    {
        if (Find(name) is not { } value) return fallback ?? throw Missing(name);
        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) ? number : throw Error(name, "a finite number is needed");
    }

    /// <summary>A number above 0.</summary>
    /// <param name="name">The field.</param>
    /// <param name="fallback">Where the field is absent; null where it must be there.</param>
    public double Positive(string name, double? fallback = null) => Number(name, fallback) is > 0 and var number ? number : throw Error(name, "a number above 0 is needed");

    /// <summary>True or false.</summary>
    public bool Flag(string name, bool fallback) => FindFlag(name) ?? fallback;

    /// <summary>True or false, or null where the field is absent.</summary>
    public bool? FindFlag(string name) => Find(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        _ => throw Error(name, "true or false is needed"),
    };

    /// <summary>A text.</summary>
    public string Text(string name) => FindText(name) ?? throw Missing(name);

    /// <summary>A text, or null where the field is absent.</summary>
    public string? FindText(string name) =>
        Find(name) is not { } value ? null : value.ValueKind == JsonValueKind.String ? String(value, name) : throw Error(name, "a text is needed");

    /// <summary>An object.</summary>
    public JsonFields Object(string name) => FindObject(name) ?? throw Missing(name);

    /// <summary>An object, or null where the field is absent.</summary>
    public JsonFields? FindObject(string name) =>
        Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Object ? new JsonFields(File, Full(name), value)
        : throw Error(name, "an object is needed");

    /// <summary>The elements of an array; none where the field is absent.</summary>
    public IEnumerable<JsonElement> Elements(string name) =>
        Find(name) is not { } value ? [] : value.ValueKind == JsonValueKind.Array ? value.EnumerateArray() : throw Error(name, "an array is needed");

    /// <summary>The objects of an array; none where the field is absent.</summary>
    public IEnumerable<JsonFields> Objects(string name) => Elements(name).Select((element, i) =>
        element.ValueKind == JsonValueKind.Object ? new JsonFields(File, $"{Full(name)}[{i}]", element) : throw new ImportException(File, $"{Full(name)}[{i}] is a {element.ValueKind}; an object is needed."));

    /// <summary>The texts of an array; none where the field is absent.</summary>
    public IEnumerable<string> Texts(string name) => Elements(name).Select((element, i) =>
        element.ValueKind == JsonValueKind.String ? String(element, $"{name}[{i}]") : throw new ImportException(File, $"{Full(name)}[{i}] is a {element.ValueKind}; a text is needed."));

    /// <summary>The finite numbers of an array, as float32; null where the field is absent.</summary>
    public float[]? FindFloats(string name) => !Has(name) ? null : [.. Elements(name).Select((element, i) =>
        element.ValueKind == JsonValueKind.Number && float.IsFinite((float)element.GetDouble()) ? (float)element.GetDouble() : throw new ImportException(File, $"{Full(name)}[{i}] is {Shown(element)}; a finite number is needed."))];

    /// <summary>The error of a field.</summary>
    /// <param name="name">The field.</param>
    /// <param name="needed">What is needed, without a full stop.</param>
    public ImportException Error(string name, string needed) => new(File, $"{Full(name)} is {(Find(name) is { } value ? Shown(value) : "absent")}; {needed}.");

    /// <summary>A value as a text; null where it is none, or holds half a surrogate pair or bytes that are no UTF-8.</summary>
    public static string? TextOf(JsonElement value)
    {
        try
        {
            return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private string NameOf(JsonProperty field)
    {
        try
        {
            return field.Name;
        }
        catch (InvalidOperationException)
        {
            throw NoName();
        }
    }

    private ImportException NoName() =>
        new(File, $"{(_path.Length == 0 ? "the object" : _path)} has a field whose name is no valid text: it holds half a surrogate pair or bytes that are no UTF-8.");

    private static string Shown(JsonElement value)
    {
        string text = value.GetRawText();
        return text.Length <= 200 ? text : text[..200] + "...";
    }

    private ImportException Missing(string name) => new(File, $"{Full(name)} is missing.");

    private string Full(string name) => _path.Length == 0 ? name : $"{_path}.{name}";

    private string String(JsonElement value, string name) =>
        TextOf(value) ?? throw new ImportException(File, $"{Full(name)} is no valid text: it holds half a surrogate pair or bytes that are no UTF-8.");
}
