using System.Text;

namespace Nibble.Quantize.Import;

/// <summary>A SentencePiece model, <c>tokenizer.model</c>: pieces with scores and types, and how text is prepared.</summary>
/// <remarks>Fields: google/sentencepiece, src/sentencepiece_model.proto. The numbers of types are those of GGUF.</remarks>
internal sealed class SentencePieceModel
{
    private const long MaxBytes = 256L << 20;
    private const int MaxPieces = 1 << 22;
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly string _file;

    /// <summary>A piece.</summary>
    /// <param name="Text">Its spelling.</param>
    /// <param name="Score">The higher, the sooner it is formed.</param>
    /// <param name="Type">1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.</param>
    public readonly record struct Piece(string Text, float Score, int Type);

    private SentencePieceModel(string file) => _file = file;

    /// <summary>The pieces; a piece's place is its id.</summary>
    public List<Piece> Pieces { get; } = [];

    /// <summary>Whether text gets a space before it.</summary>
    public bool AddsSpacePrefix { get; private set; } = true;

    /// <summary>Ids of tokens with a role, by the name of the role; -1 for none.</summary>
    public (int Unknown, int Bos, int Eos, int Padding) Roles { get; private set; } = (0, 1, 2, -1);

    /// <summary>Reads a file.</summary>
    /// <exception cref="ImportException">It is damaged, or a model of another kind than byte-pair encoding.</exception>
    public static SentencePieceModel Read(string path)
    {
        string name = Path.GetFileName(path);
        long bytes = new FileInfo(path).Length;
        if (bytes > MaxBytes) throw new ImportException(name, $"the file has {bytes} bytes; at most {MaxBytes} are read.");
        return Parse(name, File.ReadAllBytes(path));
    }

    /// <summary>Reads a message.</summary>
    /// <param name="file">What errors call the file.</param>
    /// <param name="message">Its bytes.</param>
    /// <exception cref="ImportException">It is damaged, or a model of another kind than byte-pair encoding.</exception>
    public static SentencePieceModel Parse(string file, ReadOnlySpan<byte> message)
    {
        SentencePieceModel model = new(file);
        int kind = 1;
        ProtobufReader reader = new(file, message);
        while (reader.Read())
        {
            if (reader.Field == 1) model.AddPiece(reader.Bytes);
            else if (reader.Field == 2) kind = model.ReadTrainer(reader.Bytes);
            else if (reader.Field == 3) model.ReadNormalizer(reader.Bytes);
        }

        if (model.Pieces.Count == 0) throw new ImportException(file, "it holds no piece; a SentencePiece model has some.");
        if (kind != 2)
        {
            string name = kind switch { 1 => "unigram", 3 => "word", 4 => "char", _ => $"{kind}" };
            throw new ImportException(file, $"its kind (trainer_spec.model_type) is '{name}'; only byte-pair encoding (BPE, 2) can be imported.");
        }

        return model;
    }

    private void AddPiece(ReadOnlySpan<byte> message)
    {
        if (Pieces.Count == MaxPieces) throw new ImportException(_file, $"it holds more than {MaxPieces} pieces.");
        string text = string.Empty;
        float score = 0;
        int type = 1;
        ProtobufReader reader = new(_file, message);
        while (reader.Read())
        {
            if (reader.Field == 1) text = Text(reader.Bytes);
            else if (reader.Field == 2) score = reader.Float;
            else if (reader.Field == 3) type = reader.Number is >= 1 and <= 6 ? (int)reader.Number : throw new ImportException(_file, $"piece {Pieces.Count} has type {reader.Number}; 1 to 6 are possible.");
        }

        if (!float.IsFinite(score)) throw new ImportException(_file, $"piece {Pieces.Count} has the score {score}; a finite number is needed.");
        Pieces.Add(new Piece(text, score, type));
    }

    private string Text(ReadOnlySpan<byte> utf8)
    {
        try
        {
            return s_strict.GetString(utf8);
        }
        catch (DecoderFallbackException)
        {
            throw new ImportException(_file, $"piece {Pieces.Count} is no valid UTF-8.");
        }
    }

    private int ReadTrainer(ReadOnlySpan<byte> message)
    {
        int kind = 1;
        ProtobufReader reader = new(_file, message);
        while (reader.Read())
        {
            // Ids are int32; negative ones, for none, have ten bytes.
            int id = unchecked((int)reader.Number);
            switch (reader.Field)
            {
                case 3:
                    kind = id;
                    break;
                case 40:
                    Roles = Roles with { Unknown = id };
                    break;
                case 41:
                    Roles = Roles with { Bos = id };
                    break;
                case 42:
                    Roles = Roles with { Eos = id };
                    break;
                case 43:
                    Roles = Roles with { Padding = id };
                    break;
            }
        }

        return kind;
    }

    private void ReadNormalizer(ReadOnlySpan<byte> message)
    {
        ProtobufReader reader = new(_file, message);
        while (reader.Read())
            if (reader.Field == 3) AddsSpacePrefix = reader.Number != 0;
    }
}
