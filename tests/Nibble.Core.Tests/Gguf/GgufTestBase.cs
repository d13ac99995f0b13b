using Nibble.Core.Gguf;

namespace Nibble.Core.Tests.Gguf;

/// <summary>A folder per test and the three questions that the GGUF tests ask of bytes.</summary>
public abstract class GgufTestBase : IDisposable
{
    protected const string FileName = "model.gguf";

    protected TempFolder Folder { get; } = new();

    public void Dispose()
    {
        Folder.Dispose();
        GC.SuppressFinalize(this);
    }

    protected GgufFile Open(byte[] bytes) => GgufFile.Open(Folder.Write(FileName, bytes));

    protected GgufFile Open(GgufBuilder builder) => Open(builder.Build());

    protected GgufFile Reopen(GgufWriter writer, string name = FileName)
    {
        writer.Write(Folder.File(name));
        return GgufFile.Open(Folder.File(name));
    }

    /// <summary>The file is refused, and the message tells where and what: it holds each of the words.</summary>
    protected GgufException Refused(GgufBuilder builder, params ReadOnlySpan<string> words) => Refused(builder.Build(), words);

    protected GgufException Refused(byte[] bytes, params ReadOnlySpan<string> words)
    {
        GgufException exception = Assert.Throws<GgufException>(() => Open(bytes).Dispose());
        foreach (string word in words) Assert.Contains(word, exception.Reason, StringComparison.Ordinal);
        Assert.InRange(exception.Offset, 0, bytes.Length);
        Assert.StartsWith($"{FileName}, offset {exception.Offset}: {exception.Reason}", exception.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Folder.Root, exception.Message, StringComparison.Ordinal);
        return exception;
    }

    /// <summary>The same for a file that goes on with zeros up to a length.</summary>
    protected void RefusedAtLength(GgufBuilder builder, long length, params ReadOnlySpan<string> words)
    {
        using (FileStream stream = new(Folder.Write(FileName, builder.Build()), FileMode.Open)) stream.SetLength(length);
        GgufException exception = Assert.Throws<GgufException>(() => GgufFile.Open(Folder.File(FileName)).Dispose());
        foreach (string word in words) Assert.Contains(word, exception.Reason, StringComparison.Ordinal);
    }

    protected static byte[] Written(GgufWriter writer)
    {
        using MemoryStream stream = new();
        writer.Write(stream);
        return stream.ToArray();
    }

    protected static byte[] Rewritten(GgufFile file) => Written(GgufWriter.From(file));

    protected static byte[] Sequence(int length) => [.. Enumerable.Range(0, length).Select(i => (byte)(i * 7 + 1))];
}
