using Nibble.Core.Memory;

namespace Nibble.Testing;

/// <summary>A stream that compares what is written to it with a file, so that large outputs need no second file.</summary>
public sealed class ComparingStream(MappedFile expected) : Stream
{
    private long _position;

    /// <summary>The first offset at which the bytes differ, or null.</summary>
    public long? FirstDifference { get; private set; }

    /// <inheritdoc/>
    public override bool CanRead => false;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => _position;

    /// <inheritdoc/>
    public override long Position
    {
        get => _position;
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        int common = 0;
        if (_position < expected.Length)
            common = buffer.CommonPrefixLength(expected.Span(_position, (int)Math.Min(buffer.Length, expected.Length - _position)));
        if (common < buffer.Length) FirstDifference ??= _position + common;
        _position += buffer.Length;
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();
}
