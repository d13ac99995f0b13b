using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Nibble.Core.Gguf;
using Nibble.Core.Memory;

namespace Nibble.Cpu.Caching;

/// <summary>An open file of packed weights, mapped for reading: a header of a page, weights from page to page, and a table of what they are.</summary>
/// <remarks>
/// Header, little-endian: magic, layout version (uint32), weights in the table (int32), bytes of the file, stamp of the model (see <see cref="StampOf"/>), offset, length and hash of the table; in the
/// last 8 bytes of the page the hash of all before. The table has an entry for each weight, in the order of the properties of <see cref="PackedEntry"/>, texts as <see cref="BinaryWriter"/> writes them.
/// Whoever shares the mapping holds it by <see cref="Retain"/>.
/// </remarks>
internal sealed unsafe class PackedFile
{
    /// <summary>The version of this layout and of the packed order of every format. It changes when any of them does: a test holds them fast.</summary>
    public const int LayoutVersion = 1;

    /// <summary>Bytes of the header, and what weights are aligned to.</summary>
    public const int PageBytes = 4096;

    private const int StampOffset = 24, TableOffset = 32, TableLength = 40, TableHash = 48, HeaderHash = PageBytes - 8;

    // A file that was written this short a time ago may be written again without getting another date.
    private static readonly TimeSpan s_dateSteps = TimeSpan.FromSeconds(2);

    private readonly MappedFile _file;
    private readonly Dictionary<string, PackedEntry> _entries;
    private int _holders = 1;

    private PackedFile(MappedFile file, ulong stamp, Dictionary<string, PackedEntry> entries)
    {
        _file = file;
        Stamp = stamp;
        _entries = entries;
    }

    /// <summary>The stamp of the model's files when this one was written; 0 where their date was too young to be trusted.</summary>
    public ulong Stamp { get; }

    /// <summary>Bytes.</summary>
    public long Length => _file.Length;

    /// <summary>The weights.</summary>
    public IReadOnlyCollection<PackedEntry> Entries => _entries.Values;

    private static ReadOnlySpan<byte> Magic => "NIBLPACK"u8;

    /// <summary>Where packed weights of a model lie.</summary>
    public static string PathOf(GgufFile model) => model.Path + ".packed";

    /// <summary>Opens a file and checks its header and table.</summary>
    /// <param name="path">The file.</param>
    /// <param name="problem">Why it cannot be used; null where there is none.</param>
    /// <returns>The file, or null.</returns>
    public static PackedFile? Open(string path, out string? problem)
    {
        problem = null;
        if (!Path.Exists(path)) return null;
        MappedFile? file = null;
        try
        {
            file = MappedFile.Open(path);
            problem = Read(file, out PackedFile? packed);
            if (packed is null) file.Dispose();
            return packed;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            file?.Dispose();
            problem = $"it cannot be read ({error.Message})";
            return null;
        }
    }

    /// <summary>A number that changes when a file of the model gets another size or date. Links are followed.</summary>
    /// <param name="model">The model.</param>
    /// <param name="isOld">Whether the date is old enough to change with the next write.</param>
    /// <exception cref="IOException">A file is gone.</exception>
    /// <exception cref="UnauthorizedAccessException">A file may no longer be read.</exception>
    public static ulong StampOf(GgufFile model, out bool isOld)
    {
        isOld = true;
        ulong stamp = (ulong)model.PartPaths.Count;
        foreach (string path in model.PartPaths)
        {
            using SafeFileHandle handle = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
            DateTime date = File.GetLastWriteTimeUtc(handle);
            isOld &= date < DateTime.UtcNow - s_dateSteps;
            stamp = Xxh64.Hash(MemoryMarshal.AsBytes((ReadOnlySpan<long>)[RandomAccess.GetLength(handle), date.Ticks]), stamp);
        }

        return Math.Max(stamp, 1);
    }

    /// <summary>A weight by name, or null.</summary>
    public PackedEntry? Find(string name) => _entries.GetValueOrDefault(name);

    /// <summary>The first byte of a weight. Valid while somebody holds this object.</summary>
    public byte* Data(PackedEntry entry) => (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetReference(_file.Span(entry.Offset, 0)));

    /// <summary>Keeps the mapping open until a <see cref="Release"/> more.</summary>
    public PackedFile Retain()
    {
        Interlocked.Increment(ref _holders);
        return this;
    }

    /// <summary>Lets go of the mapping, which ends with the last holder.</summary>
    public void Release()
    {
        if (Interlocked.Decrement(ref _holders) == 0) _file.Dispose();
    }

    /// <summary>Gives this file another stamp, if it still lies where it was opened. Whoever opens it in that moment may find a damaged header, and then packs anew.</summary>
    /// <param name="stamp">The stamp.</param>
    public void Restamp(ulong stamp)
    {
        try
        {
            using SafeFileHandle handle = File.OpenHandle(_file.Path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete);
            byte[] header = new byte[PageBytes];
            if (RandomAccess.Read(handle, header, 0) < PageBytes || !header.AsSpan().SequenceEqual(_file.Span(0, PageBytes))) return;
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(StampOffset), stamp);
            Seal(header);
            RandomAccess.Write(handle, header, 0);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            // Without the stamp the next load compares the whole model again, as this one did.
        }
    }

    /// <summary>The header of a file.</summary>
    /// <param name="stamp">The model's stamp.</param>
    /// <param name="count">Weights.</param>
    /// <param name="tableOffset">Where the table starts, after which the file ends.</param>
    /// <param name="table">The table.</param>
    public static byte[] Header(ulong stamp, int count, long tableOffset, ReadOnlySpan<byte> table)
    {
        byte[] header = new byte[PageBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), LayoutVersion);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), count);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), tableOffset + table.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(StampOffset), stamp);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(TableOffset), tableOffset);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(TableLength), table.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(TableHash), Xxh64.Hash(table));
        Seal(header);
        return header;
    }

    /// <summary>The table of entries.</summary>
    public static byte[] Table(IEnumerable<PackedEntry> entries)
    {
        using MemoryStream stream = new();
        using BinaryWriter writer = new(stream, Encoding.UTF8);
        foreach (PackedEntry entry in entries)
        {
            writer.Write(entry.Name);
            writer.Write(entry.Format);
            writer.Write(entry.Columns);
            writer.Write(entry.Rows);
            writer.Write(entry.Matrices);
            writer.Write(entry.Offset);
            writer.Write(entry.Length);
            writer.Write(entry.Ends);
            writer.Write(entry.Source);
            writer.Write(entry.Packed);
        }

        writer.Flush();
        return stream.ToArray();
    }

    private static void Seal(byte[] header) => BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(HeaderHash), Xxh64.Hash(header.AsSpan(0, HeaderHash)));

    private static string? Read(MappedFile file, out PackedFile? packed)
    {
        packed = null;
        if (file.Length < PageBytes) return $"it has {file.Length} bytes, too few for a header";
        ReadOnlySpan<byte> header = file.Span(0, PageBytes);
        if (!header.StartsWith(Magic)) return "it is no file of packed weights";
        int version = BinaryPrimitives.ReadInt32LittleEndian(header[8..]);
        if (version != LayoutVersion) return $"it is of layout version {version}, not {LayoutVersion}";
        if (BinaryPrimitives.ReadUInt64LittleEndian(header[HeaderHash..]) != Xxh64.Hash(header[..HeaderHash])) return "its header is damaged";
        long length = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        if (file.Length != length) return $"it has {file.Length:N0} bytes of {length:N0}";
        long tableOffset = BinaryPrimitives.ReadInt64LittleEndian(header[TableOffset..]), tableLength = BinaryPrimitives.ReadInt64LittleEndian(header[TableLength..]);
        if (tableOffset < PageBytes || tableLength is < 0 or > int.MaxValue || tableOffset > length - tableLength) return "its header is damaged";
        ReadOnlySpan<byte> table = file.Span(tableOffset, (int)tableLength);
        if (BinaryPrimitives.ReadUInt64LittleEndian(header[TableHash..]) != Xxh64.Hash(table)) return "its table is damaged";
        Dictionary<string, PackedEntry>? entries = ReadTable(table, BinaryPrimitives.ReadInt32LittleEndian(header[12..]), tableOffset);
        if (entries is null) return "its table is damaged";
        packed = new PackedFile(file, BinaryPrimitives.ReadUInt64LittleEndian(header[StampOffset..]), entries);
        return null;
    }

    // Null where the table is none: its hash fits, so somebody made it so.
    private static Dictionary<string, PackedEntry>? ReadTable(ReadOnlySpan<byte> table, int count, long end)
    {
        Dictionary<string, PackedEntry> entries = new(StringComparer.Ordinal);
        using BinaryReader reader = new(new MemoryStream(table.ToArray()), Encoding.UTF8);
        try
        {
            for (int i = 0; i < count; i++)
            {
                PackedEntry entry = new()
                {
                    Name = reader.ReadString(),
                    Format = reader.ReadString(),
                    Columns = reader.ReadInt32(),
                    Rows = reader.ReadInt32(),
                    Matrices = reader.ReadInt32(),
                    Offset = reader.ReadInt64(),
                    Length = reader.ReadInt64(),
                    Ends = reader.ReadUInt64(),
                    Source = reader.ReadUInt64(),
                    Packed = reader.ReadUInt64(),
                };
                if (entry.Offset < PageBytes || entry.Offset % PageBytes != 0 || entry.Length < 0 || entry.Offset > end - entry.Length || !entries.TryAdd(entry.Name, entry)) return null;
            }
        }
        catch (Exception error) when (error is IOException or FormatException or ArgumentException)
        {
            return null;
        }

        return entries;
    }
}
