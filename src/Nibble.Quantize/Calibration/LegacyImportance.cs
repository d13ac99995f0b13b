using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Nibble.Quantize.Calibration;

/// <summary>The format of importance matrices before the GGUF one (.dat).</summary>
/// <remarks>
/// int32 entries; for each entry int32 length and the bytes of the name, int32 calls, int32 values, float32 [values] that are mean times calls; then, where the file goes on, int32 chunks, int32 length and
/// the bytes of the text's name. Little-endian. Source: llama.cpp v0.5.0, common/imatrix-loader.cpp.
/// </remarks>
internal static class LegacyImportance
{
    // Name length, a name of one byte, calls, values, one value.
    private const int MinEntryBytes = 4 + 1 + 4 + 4 + 4;

    /// <summary>Reads a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="ImportanceException">It is no such file.</exception>
    public static ImportanceMatrix Read(string path)
    {
        string fileName = Path.GetFileName(path);
        using FileStream file = File.OpenRead(path);
        Cursor cursor = new(file, fileName);
        int count = cursor.Int32("the number of entries");
        if (count < 1 || count > cursor.Left / MinEntryBytes)
            throw cursor.Error($"the number of entries is {count}; 1 to {cursor.Left / MinEntryBytes} fit into the file. It is neither a GGUF file nor an importance matrix of the older format.");
        Dictionary<string, ImportanceEntry> entries = new(StringComparer.Ordinal);
        for (int i = 0; i < count; i++)
        {
            string name = cursor.Text($"the name of entry {i}");
            if (name.Length == 0) throw cursor.Error($"entry {i} has an empty name.");
            int calls = cursor.Int32($"the calls of '{name}'");
            if (calls < 0) throw cursor.Error($"'{name}' has {calls} calls; at least 0 are possible.");
            int values = cursor.Int32($"the number of values of '{name}'");
            if (values < 1 || values > cursor.Left / sizeof(float)) throw cursor.Error($"'{name}' has {values} values; 1 to {cursor.Left / sizeof(float)} fit into the rest of the file.");
            float[] sums = new float[values];
            cursor.Read(MemoryMarshal.AsBytes(sums.AsSpan()), $"the values of '{name}'");
            // Values of an entry without calls are means as they are.
            if (!entries.TryAdd(name, ImportanceMatrix.Entry(fileName, name, sums, [Math.Max(1, calls)]))) throw cursor.Error($"there are two entries named '{name}'.");
        }

        if (cursor.Left == 0) return new ImportanceMatrix(entries.Values, [], 0, 0);
        int chunks = cursor.Int32("the number of chunks");
        if (chunks < 0) throw cursor.Error($"the number of chunks is {chunks}; at least 0 are possible.");
        string dataset = cursor.Left == 0 ? string.Empty : cursor.Text("the text's name");
        if (cursor.Left > 0) throw cursor.Error($"{cursor.Left} bytes follow the text's name; the file should end there.");
        return new ImportanceMatrix(entries.Values, dataset.Length == 0 ? [] : [dataset], chunks, 0);
    }

    private sealed class Cursor(FileStream file, string fileName)
    {
        private const int MaxTextBytes = 1 << 16;

        /// <summary>Bytes that are still to read.</summary>
        public long Left => file.Length - file.Position;

        public ImportanceException Error(string reason) => new(fileName, $"offset {file.Position}: {reason}");

        public int Int32(string what)
        {
            Span<byte> bytes = stackalloc byte[sizeof(int)];
            Read(bytes, what);
            return BinaryPrimitives.ReadInt32LittleEndian(bytes);
        }

        public string Text(string what)
        {
            int length = Int32("the length of " + what);
            if (length < 0 || length > Math.Min(MaxTextBytes, Left)) throw Error($"the length of {what} is {length} bytes; 0 to {Math.Min(MaxTextBytes, Left)} are possible.");
            byte[] bytes = new byte[length];
            Read(bytes, what);
            return Encoding.UTF8.GetString(bytes);
        }

        public void Read(Span<byte> bytes, string what)
        {
            if (bytes.Length > Left) throw Error($"{what} needs {bytes.Length} bytes; {Left} are left.");
            file.ReadExactly(bytes);
        }
    }
}
