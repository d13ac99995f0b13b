using System.Buffers.Binary;
using System.Text;

namespace Nibble.Core.Gguf;

/// <summary>The stream under a writer: buffers, counts, pads, and holds each tensor to its length.</summary>
internal sealed class GgufOutput(Stream inner) : Stream
{
    public static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private readonly byte[] _buffer = new byte[1 << 18];
    private int _buffered;
    private long _written;
    private string? _tensor;
    private long _tensorBytes;
    private long _tensorEnd = long.MaxValue;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException("The length is not known before the file is written.");

    public override long Position
    {
        get => _written;
        set => throw new NotSupportedException("The stream cannot seek.");
    }

    public void WriteUInt32(uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Write(bytes);
    }

    public void WriteUInt64(ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Write(bytes);
    }

    public void WriteString(string text)
    {
        byte[] bytes = StrictUtf8.GetBytes(text);
        WriteUInt64((ulong)bytes.Length);
        Write(bytes);
    }

    public void Pad(uint alignment)
    {
        Span<byte> zeros = stackalloc byte[256];
        zeros.Clear();
        for (long rest = GgufLimits.Pad(_written, alignment) - _written; rest > 0; rest -= zeros.Length)
            Write(zeros[..(int)Math.Min(rest, zeros.Length)]);
    }

    /// <summary>Goes on at another place, which only a stream that can seek has.</summary>
    public void MoveTo(long position)
    {
        Empty();
        inner.Seek(position - _written, SeekOrigin.Current);
        _written = position;
    }

    /// <summary>From here to <see cref="EndTensor"/> exactly so many bytes have to be written.</summary>
    public void BeginTensor(string name, long bytes)
    {
        _tensor = name;
        _tensorBytes = bytes;
        _tensorEnd = _written + bytes;
    }

    public void EndTensor()
    {
        if (_written != _tensorEnd)
            throw new InvalidOperationException($"The data of tensor '{_tensor}' has {_written - (_tensorEnd - _tensorBytes)} bytes; its format and dimensions take {_tensorBytes}.");
        _tensorEnd = long.MaxValue;
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (buffer.Length > _tensorEnd - _written)
            throw new InvalidOperationException($"The data of tensor '{_tensor}' has more than the {_tensorBytes} bytes that its format and dimensions take.");
        _written += buffer.Length;
        if (buffer.Length > _buffer.Length - _buffered)
        {
            Empty();
            if (buffer.Length >= _buffer.Length)
            {
                inner.Write(buffer);
                return;
            }
        }

        buffer.CopyTo(_buffer.AsSpan(_buffered));
        _buffered += buffer.Length;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
        Empty();
        inner.Flush();
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("The stream can only be written.");

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("The stream cannot seek.");

    public override void SetLength(long value) => throw new NotSupportedException("The stream cannot seek.");

    private void Empty()
    {
        inner.Write(_buffer.AsSpan(0, _buffered));
        _buffered = 0;
    }
}
