using System.Buffers;
using System.Text;

namespace Nibble.Llm.Tokenizers.PreTokenizers;

/// <summary>A text as code points with their classes, in pooled memory: what pre-tokenizers look at.</summary>
internal sealed class CodePointText : IDisposable
{
    private int[] _codePoints;
    private CodePointClass[] _classes;

    /// <param name="utf8">Valid UTF-8.</param>
    public CodePointText(ReadOnlySpan<byte> utf8)
    {
        _codePoints = ArrayPool<int>.Shared.Rent(utf8.Length);
        _classes = ArrayPool<CodePointClass>.Shared.Rent(utf8.Length);
        while (utf8.Length > 0)
        {
            int c = utf8[0], size = 1;
            if (c >= 0x80)
            {
                Rune.DecodeFromUtf8(utf8, out Rune rune, out size);
                c = rune.Value;
            }

            _codePoints[Length] = c;
            _classes[Length++] = UnicodeTables.ClassOf(c);
            utf8 = utf8[size..];
        }
    }

    /// <summary>The number of code points.</summary>
    public int Length { get; }

    /// <summary>The code points.</summary>
    public ReadOnlySpan<int> CodePoints => _codePoints.AsSpan(0, Length);

    /// <summary>The classes of the code points.</summary>
    public ReadOnlySpan<CodePointClass> Classes => _classes.AsSpan(0, Length);

    /// <summary>The number of bytes that a code point takes in UTF-8.</summary>
    public static int Utf8Length(int codePoint) => codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;

    /// <summary>Gives the memory back.</summary>
    public void Dispose()
    {
        ArrayPool<int>.Shared.Return(_codePoints);
        ArrayPool<CodePointClass>.Shared.Return(_classes);
        _codePoints = [];
        _classes = [];
    }
}
