using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Nibble.Core.Compute;

namespace Nibble.Llm.Sessions;

/// <summary>A session on disk.</summary>
/// <remarks>
/// Little-endian: magic (8 bytes), version u32, fingerprint of the model (32 bytes), KV format u32 (ggml type), layers u32, per layer heads, key size, value
/// size, window, chunked u32; values of recurrent states u32; length u32, logits u32 (0 or the vocabulary), attachment u32; then ids i32[length],
/// logits f32[logits], attachment bytes; then per layer the keys of all positions (with a window: of the last ones) and the values of the same; then the recurrent
/// states f32; last the SHA-256 of everything before (32 bytes).
/// </remarks>
internal static class SessionStateFile
{
    private const uint Version = 2;
    private const int HashBytes = 32;
    private const int MaxAttachmentBytes = 16 << 20;

    private static ReadOnlySpan<byte> Magic => "NibbleKV"u8;

    /// <summary>Writes a session beside the path, then moves it there.</summary>
    public static void Write(Session session, string path, ReadOnlySpan<byte> attachment)
    {
        if (attachment.Length > MaxAttachmentBytes)
            throw new ArgumentException($"an attachment of {attachment.Length} bytes is too long; at most {MaxAttachmentBytes} are saved.", nameof(attachment));
        if (File.Exists(path) && !IsSessionState(path))
            throw new SessionStateException($"'{Path.GetFileName(path)}' exists and is no saved session; it is not overwritten. Name another file.");
        string temporary = path + ".incomplete";
        try
        {
            using (FileStream file = new(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 20))
            {
                using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
                void Put(ReadOnlySpan<byte> bytes)
                {
                    file.Write(bytes);
                    hash.AppendData(bytes);
                }

                ReadOnlySpan<float> logits = session.HasLogits ? session.Logits : default;
                Put(Header(session, logits.Length, attachment.Length));
                Put(MemoryMarshal.AsBytes(session.Tokens));
                Put(MemoryMarshal.AsBytes(logits));
                Put(attachment);
                KvCache cache = session.State.Cache;
                for (int layer = 0; layer < cache.Layers.Length; layer++)
                {
                    foreach (bool values in (ReadOnlySpan<bool>)[false, true])
                    {
                        byte[] row = new byte[cache.RowBytes(layer, values)];
                        for (int position = session.State.FirstSaved(layer, session.Length); position < session.Length; position++)
                        {
                            cache.ReadRow(layer, values, position, row);
                            Put(row);
                        }
                    }
                }

                for (int i = 0; i < session.State.States.Length; i++)
                    Put(MemoryMarshal.AsBytes<float>(session.State.ReadState(i)));
                file.Write(hash.GetHashAndReset());
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Checks a file wholly, then takes it into a session.</summary>
    public static void Read(Session session, string path, Action<byte[]>? takeAttachment)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
        string name = Path.GetFileName(path);
        if (file.Length < Magic.Length + HashBytes) throw new SessionStateException($"'{name}' is no saved session: it has only {file.Length} bytes.");
        CheckHash(file, name);

        byte[] expected = Header(session, 0, 0);
        byte[] header = new byte[expected.Length];
        file.ReadExactly(header);
        const int counts = 12;
        int fingerprint = Magic.Length + sizeof(uint);
        if (!header.AsSpan(fingerprint, HashBytes).SequenceEqual(expected.AsSpan(fingerprint, HashBytes)))
            throw new SessionStateException($"'{name}' was saved with another model than {Path.GetFileName(session.Model.File.Path)}.");
        if (!header.AsSpan(0, header.Length - counts).SequenceEqual(expected.AsSpan(0, expected.Length - counts)))
            throw new SessionStateException($"'{name}' was saved with another KV format (--kv) than {session.State.Cache.Format.Name}, or by another version of Nibble.");
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(header.Length - 12));
        uint logitCount = BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(header.Length - 8));
        uint attachmentLength = BinaryPrimitives.ReadUInt32LittleEndian(header.AsSpan(header.Length - 4));
        if (length > session.Capacity)
            throw new SessionStateException($"'{name}' holds {length} positions; this session has room for {session.Capacity}. Raise the context (--context).");
        KvCache cache = session.State.Cache;
        long bytes = header.Length + (4L * length) + (4L * logitCount) + attachmentLength + StateBytes(session, (int)length) + HashBytes;
        if (logitCount != 0 && logitCount != session.Model.VocabularySize)
            throw new SessionStateException($"'{name}' holds {logitCount} logits; the model has a vocabulary of {session.Model.VocabularySize}.");
        if (attachmentLength > MaxAttachmentBytes)
            throw new SessionStateException($"'{name}' has an attachment of {attachmentLength} bytes; at most {MaxAttachmentBytes} are read.");
        if (bytes != file.Length)
            throw new SessionStateException($"'{name}' has {file.Length} bytes; its header promises {bytes}.");

        int[] tokens = new int[length];
        float[] logits = new float[logitCount];
        byte[] attachment = new byte[attachmentLength];
        file.ReadExactly(MemoryMarshal.AsBytes(tokens.AsSpan()));
        file.ReadExactly(MemoryMarshal.AsBytes(logits.AsSpan()));
        file.ReadExactly(attachment);
        foreach (int id in tokens)
            if ((uint)id >= (uint)session.Model.VocabularySize)
                throw new SessionStateException($"'{name}' holds token {id}, which the model's vocabulary of {session.Model.VocabularySize} does not have.");
        takeAttachment?.Invoke(attachment);
        session.SetState([], []);
        session.State.Clear();
        for (int layer = 0; layer < cache.Layers.Length; layer++)
        {
            foreach (bool values in (ReadOnlySpan<bool>)[false, true])
            {
                byte[] row = new byte[cache.RowBytes(layer, values)];
                for (int position = session.State.FirstSaved(layer, tokens.Length); position < tokens.Length; position++)
                {
                    file.ReadExactly(row);
                    cache.WriteRow(layer, values, position, row);
                }
            }
        }

        for (int i = 0; i < session.State.States.Length; i++)
        {
            float[] state = new float[session.State.States[i].Rows * session.State.States[i].Columns];
            file.ReadExactly(MemoryMarshal.AsBytes(state.AsSpan()));
            session.State.WriteState(i, state);
        }

        session.State.NoteRestored(tokens.Length);
        session.SetState(tokens, logits);
    }

    private static long StateBytes(Session session, int length)
    {
        KvCache cache = session.State.Cache;
        long bytes = 4 * session.Model.Decoder.Sequence.StateValues;
        for (int layer = 0; layer < cache.Layers.Length; layer++)
            bytes += (long)(length - session.State.FirstSaved(layer, length)) * (cache.RowBytes(layer, false) + cache.RowBytes(layer, true));
        return bytes;
    }

    private static bool IsSessionState(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        Span<byte> start = stackalloc byte[8];
        return file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false) == start.Length && start.SequenceEqual(Magic);
    }

    private static void CheckHash(FileStream file, string name)
    {
        Span<byte> start = stackalloc byte[8];
        file.ReadExactly(start);
        if (!start.SequenceEqual(Magic)) throw new SessionStateException($"'{name}' is no saved session: it does not start with '{System.Text.Encoding.ASCII.GetString(Magic)}'.");
        file.Position = 0;
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        for (long left = file.Length - HashBytes; left > 0;)
        {
            int count = file.Read(buffer, 0, (int)Math.Min(buffer.Length, left));
            if (count == 0) throw new SessionStateException($"'{name}' became shorter while it was read.");
            hash.AppendData(buffer, 0, count);
            left -= count;
        }

        byte[] stored = new byte[HashBytes];
        file.ReadExactly(stored);
        if (!stored.AsSpan().SequenceEqual(hash.GetHashAndReset()))
            throw new SessionStateException($"'{name}' is damaged: its checksum does not fit its content.");
        file.Position = 0;
    }

    private static byte[] Header(Session session, int logits, int attachment)
    {
        using MemoryStream header = new();
        using BinaryWriter writer = new(header);
        writer.Write(Magic);
        writer.Write(Version);
        writer.Write(session.Model.Fingerprint.AsSpan());
        writer.Write(session.State.Cache.Format.Id);
        writer.Write((uint)session.State.Cache.Layers.Length);
        foreach (KvLayer layer in session.State.Cache.Layers)
        {
            writer.Write((uint)layer.Heads);
            writer.Write((uint)layer.KeySize);
            writer.Write((uint)layer.ValueSize);
            writer.Write((uint)layer.Window);
            writer.Write(layer.IsChunked ? 1u : 0u);
        }

        writer.Write((uint)session.Model.Decoder.Sequence.StateValues);
        writer.Write((uint)session.Length);
        writer.Write((uint)logits);
        writer.Write((uint)attachment);
        writer.Flush();
        return header.ToArray();
    }
}
