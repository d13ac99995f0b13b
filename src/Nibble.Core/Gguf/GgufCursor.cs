using System.Buffers.Binary;
using Nibble.Core.Memory;

namespace Nibble.Core.Gguf;

/// <summary>Reads a mapped file from front to back. Nothing is read that is not there, and nothing is allocated unless an error is made.</summary>
internal sealed class GgufCursor(MappedFile file)
{
    private string _subjectKind = "";
    private long _subjectOffset;
    private int _subjectBytes;

    /// <summary>Bytes from the file's start.</summary>
    public long Position { get; set; }

    public long Length => file.Length;

    public long Remaining => file.Length - Position;

    public MappedFile File => file;

    /// <summary>Names what is being read; errors then begin with it.</summary>
    public void Subject(string kind, long nameOffset, int nameBytes)
    {
        _subjectKind = kind;
        _subjectOffset = nameOffset;
        _subjectBytes = nameBytes;
    }

    public void NoSubject() => _subjectKind = "";

    public uint ReadUInt32(string what) => BinaryPrimitives.ReadUInt32LittleEndian(Read(sizeof(uint), what));

    public ulong ReadUInt64(string what) => BinaryPrimitives.ReadUInt64LittleEndian(Read(sizeof(ulong), what));

    public ReadOnlySpan<byte> Read(int bytes, string what)
    {
        Skip(bytes, what);
        return file.Span(Position - bytes, bytes);
    }

    public void Skip(long bytes, string what)
    {
        if (bytes > Remaining) throw Error(Position, $"{what} needs {bytes} bytes; the file ends after {Remaining}");
        Position += bytes;
    }

    /// <summary>Reads a uint64 length that must not exceed a limit nor the bytes that remain.</summary>
    public int ReadLength(int limit, string what)
    {
        ulong length = ReadUInt64(what);
        if (length > (ulong)limit || (long)length > Remaining)
            throw Error(Position - sizeof(ulong), $"{what} is {length}; at most {Math.Min(limit, Remaining)} is possible here");
        return (int)length;
    }

    public GgufException Error(long offset, string reason)
    {
        if (_subjectKind.Length == 0) return new GgufException(file.Name, offset, reason + ".");
        string name = GgufException.Quote(file.Span(_subjectOffset, _subjectBytes));
        return new GgufException(file.Name, offset, $"{_subjectKind} {name}: {reason}.");
    }
}
