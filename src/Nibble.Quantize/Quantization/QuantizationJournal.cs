using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Nibble.Core.Compute;

namespace Nibble.Quantize.Quantization;

/// <summary>
/// What is finished of a file that is being written: a line of JSON for the job, then one for each tensor with the SHA-256 of its bytes in the input and in the output. A stopped run is taken up where both are
/// still what they were; anything else is made again.
/// </summary>
internal sealed class QuantizationJournal : IDisposable
{
    private readonly FileStream _stream;

    private QuantizationJournal(FileStream stream) => _stream = stream;

    /// <summary>Opens the journal for appending, and tells what an earlier run of the same job finished.</summary>
    /// <param name="path">The journal.</param>
    /// <param name="job">What the output depends on beside the tensors.</param>
    /// <param name="finished">Hash of input and of output by tensor; empty where the journal is of another job, damaged or absent.</param>
    public static QuantizationJournal Open(string path, string job, out Dictionary<string, (string Input, string Output)> finished)
    {
        finished = Read(path, job);
        QuantizationJournal journal = new(new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read));
        journal.Line(writer => writer.WriteString("job", job));
        return journal;
    }

    /// <summary>The SHA-256 of a tensor's bytes in the input, of an encoded one's description and parts, as text.</summary>
    public static string Hash(IWeightSource tensor)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using HashStream stream = new(hash);
        tensor.CopyTo(stream);
        return Convert.ToHexString(hash.GetHashAndReset());
    }

    /// <summary>Notes that a tensor's bytes are written.</summary>
    public void Finish(string tensor, string input, string output) => Line(writer =>
    {
        writer.WriteString("tensor", tensor);
        writer.WriteString("input", input);
        writer.WriteString("output", output);
    });

    public void Dispose() => _stream.Dispose();

    private static Dictionary<string, (string Input, string Output)> Read(string path, string job)
    {
        Dictionary<string, (string, string)> finished = new(StringComparer.Ordinal);
        if (!File.Exists(path)) return finished;
        bool isFirst = true;
        foreach (string line in File.ReadLines(path))
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(line);
                JsonElement entry = document.RootElement;
                if (isFirst && entry.GetProperty("job").GetString() != job) return finished;
                if (!isFirst) finished[entry.GetProperty("tensor").GetString()!] = (entry.GetProperty("input").GetString()!, entry.GetProperty("output").GetString()!);
                isFirst = false;
            }
            catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentNullException)
            {
                break; // the line that a stopped run was writing
            }
        }

        return finished;
    }

    private void Line(Action<Utf8JsonWriter> content)
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter writer = new(buffer))
        {
            writer.WriteStartObject();
            content(writer);
            writer.WriteEndObject();
        }

        buffer.Write("\n"u8);
        _stream.Write(buffer.GetBuffer().AsSpan(0, (int)buffer.Length));
        _stream.Flush();
    }

    /// <summary>Hashes what is written to it, and hands it on where there is something to hand it to.</summary>
    internal sealed class HashStream(IncrementalHash hash, Stream? inner = null) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException("The stream can only be written.");

        public override long Position
        {
            get => throw new NotSupportedException("The stream can only be written.");
            set => throw new NotSupportedException("The stream can only be written.");
        }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            hash.AppendData(buffer);
            inner?.Write(buffer);
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush() => inner?.Flush();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("The stream can only be written.");

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException("The stream cannot seek.");

        public override void SetLength(long value) => throw new NotSupportedException("The stream cannot seek.");
    }
}
