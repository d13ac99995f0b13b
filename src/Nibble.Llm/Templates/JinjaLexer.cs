using System.Globalization;
using System.Numerics;
using System.Text;

namespace Nibble.Llm.Templates;

internal enum TokenKind
{
    Data,
    BlockBegin,
    BlockEnd,
    VariableBegin,
    VariableEnd,
    Name,
    String,
    Number,
    Operator,
    End,
}

/// <summary>A token: its text (for strings the value), and where it starts in the source.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, int Offset, JinjaValue? Number = null)
{
    public bool Is(string operatorOrName) => Kind is TokenKind.Operator or TokenKind.Name && Text == operatorOrName;

    public string Describe() => Kind switch
    {
        TokenKind.End => "end of template",
        TokenKind.BlockEnd => "end of statement block",
        TokenKind.VariableEnd => "end of print statement",
        TokenKind.BlockBegin => "begin of statement block",
        TokenKind.VariableBegin => "begin of print statement",
        TokenKind.Data => "template data",
        _ => Text,
    };
}

/// <summary>
/// Cuts a source into tokens as jinja2 3.1 does with trim_blocks and lstrip_blocks: the newline after a block or comment is
/// dropped, and so is white space from the start of a line up to one; <c>-</c> drops all white space on its side, <c>+</c> none.
/// </summary>
internal sealed class JinjaLexer
{
    private static readonly string[] Operators =
        ["**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"];

    private readonly SourceText _source;
    private readonly string _text;
    private readonly List<Token> _tokens = [];
    private readonly Stack<(char Closer, int Offset)> _brackets = new();
    private int _position;
    private bool _lineStarting = true;

    private JinjaLexer(SourceText source)
    {
        _source = source;
        _text = source.Text;
    }

    /// <summary>Newlines become <c>\n</c> and one at the end is dropped, as jinja2 does before it reads anything.</summary>
    public static SourceText Normalize(string source)
    {
        string text = PythonText.ReplaceLoneSurrogates(source).Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        return new(text.EndsWith('\n') ? text[..^1] : text);
    }

    public static List<Token> Tokenize(SourceText source)
    {
        JinjaLexer lexer = new(source);
        lexer.Run();
        lexer._tokens.Add(new(TokenKind.End, "", source.Text.Length));
        return lexer._tokens;
    }

    private void Run()
    {
        while (_position < _text.Length)
        {
            int begin = FindTag(_position);
            if (begin < 0)
            {
                AddData(_position, _text.Length);
                return;
            }
            char kind = _text[begin + 1];
            int after = begin + 2;
            char sign = after < _text.Length && _text[after] is '-' or '+' ? _text[after] : '\0';
            AddData(_position, DataEnd(_position, begin, sign, isVariable: kind == '{'));
            _lineStarting = false;
            switch (kind)
            {
                case '#':
                    Comment(begin, sign != '\0');
                    break;
                case '%' when TryRawBegin(begin, out int bodyStart):
                    Raw(begin, bodyStart);
                    break;
                default:
                    _tokens.Add(new(kind == '{' ? TokenKind.VariableBegin : TokenKind.BlockBegin, "", begin));
                    _position = after + (sign == '\0' ? 0 : 1);
                    Code(begin, isVariable: kind == '{');
                    break;
            }
        }
    }

    private int FindTag(int from)
    {
        while (true)
        {
            int brace = _text.IndexOf('{', from);
            if (brace < 0 || brace + 1 >= _text.Length) return -1;
            if (_text[brace + 1] is '{' or '%' or '#') return brace;
            from = brace + 1;
        }
    }

    /// <summary>Where the data before a tag ends once the tag's white space control is applied.</summary>
    private int DataEnd(int start, int tag, char sign, bool isVariable)
    {
        int end = tag;
        if (sign == '-')
        {
            while (end > start && PythonText.IsSpace(_text[end - 1])) end--;
        }
        else if (sign != '+' && !isVariable)
        {
            while (end > start && _text[end - 1] != '\n' && PythonText.IsSpace(_text[end - 1])) end--;
            bool atLineStart = end > start ? _text[end - 1] == '\n' : _lineStarting;
            if (!atLineStart) end = tag;
        }
        return end;
    }

    private void AddData(int start, int end)
    {
        if (end > start) _tokens.Add(new(TokenKind.Data, _text[start..end], start));
    }

    private void Comment(int begin, bool signed)
    {
        int bodyStart = begin + (signed ? 3 : 2);
        int end = _text.IndexOf("#}", bodyStart, StringComparison.Ordinal);
        if (end < 0) throw Error("a comment is not closed by '#}'", begin);
        char sign = end > bodyStart ? _text[end - 1] : '\0';
        EndTag(end + 2, sign);
    }

    /// <summary>Moves behind a block's or comment's end, and behind the white space it takes with it.</summary>
    private void EndTag(int position, char sign)
    {
        if (sign == '-') position = SkipSpace(position);
        else if (sign != '+' && position < _text.Length && _text[position] == '\n') position++;
        _lineStarting = position > 0 && _text[position - 1] == '\n';
        _position = position;
    }

    private int SkipSpace(int position)
    {
        while (position < _text.Length && PythonText.IsSpace(_text[position])) position++;
        return position;
    }

    private bool TryRawBegin(int begin, out int bodyStart)
    {
        bodyStart = 0;
        int position = begin + 2;
        if (position < _text.Length && _text[position] is '-' or '+') position++;
        position = SkipSpace(position);
        if (!HasAt(position, "raw")) return false;
        position = SkipSpace(position + 3);
        if (HasAt(position, "-%}")) bodyStart = SkipSpace(position + 3);
        else if (HasAt(position, "%}")) bodyStart = position + 2;
        else return false;
        return true;
    }

    private void Raw(int begin, int bodyStart)
    {
        _lineStarting = _text[bodyStart - 1] == '\n';
        for (int tag = bodyStart; ; tag += 2)
        {
            tag = _text.IndexOf("{%", tag, StringComparison.Ordinal);
            if (tag < 0) throw Error("a raw block is not closed by '{% endraw %}'", begin);
            int position = tag + 2;
            char sign = position < _text.Length && _text[position] is '-' or '+' ? _text[position++] : '\0';
            position = SkipSpace(position);
            if (!HasAt(position, "endraw")) continue;
            position = SkipSpace(position + 6);
            char endSign = position < _text.Length && _text[position] is '-' or '+' ? _text[position++] : '\0';
            if (!HasAt(position, "%}")) continue;
            AddData(bodyStart, DataEnd(bodyStart, tag, sign, isVariable: false));
            EndTag(position + 2, endSign);
            return;
        }
    }

    private bool HasAt(int position, string text) => string.CompareOrdinal(_text, position, text, 0, text.Length) == 0;

    private void Code(int begin, bool isVariable)
    {
        _brackets.Clear();
        string close = isVariable ? "}}" : "%}";
        while (true)
        {
            if (_brackets.Count == 0)
            {
                char sign = _position < _text.Length ? _text[_position] : '\0';
                bool signed = sign == '-' || (sign == '+' && !isVariable);
                if (HasAt(_position + (signed ? 1 : 0), close))
                {
                    _tokens.Add(new(isVariable ? TokenKind.VariableEnd : TokenKind.BlockEnd, "", _position));
                    int end = _position + (signed ? 3 : 2);
                    EndTag(end, signed ? sign : isVariable ? '+' : '\0');
                    return;
                }
            }
            if (_position >= _text.Length) throw Error($"a tag is not closed by '{close}'", begin);
            char c = _text[_position];
            if (PythonText.IsSpace(c)) _position++;
            else if (char.IsAsciiDigit(c)) Number();
            else if (c == '_' || char.IsLetter(c)) Name();
            else if (c is '\'' or '"') String(c);
            else Operator();
        }
    }

    private void Name()
    {
        int start = _position;
        while (_position < _text.Length && (_text[_position] == '_' || char.IsLetterOrDigit(_text[_position])
            || char.GetUnicodeCategory(_text[_position]) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark)) _position++;
        _tokens.Add(new(TokenKind.Name, _text[start.._position], start));
    }

    private void Number()
    {
        int start = _position;
        if (_text[_position] == '0' && _position + 1 < _text.Length && Radix(_text[_position + 1]) is int radix and > 0)
        {
            int position = _position + 2;
            BigInteger value = BigInteger.Zero;
            bool any = false;
            for (; position < _text.Length; position++)
            {
                if (_text[position] == '_' && position + 1 < _text.Length && Digit(_text[position + 1]) < radix) continue;
                int digit = Digit(_text[position]);
                if (digit >= radix) break;
                value = (value * radix) + digit;
                any = true;
                CheckDigits(position - start, start);
            }
            if (any)
            {
                _position = position;
                _tokens.Add(new(TokenKind.Number, _text[start..position], start, JinjaInt.Of(value)));
                return;
            }
        }
        bool afterDot = start > 0 && _text[start - 1] == '.';
        int end = Digits(start);
        bool isFloat = false;
        if (!afterDot && end + 1 < _text.Length && _text[end] == '.' && char.IsAsciiDigit(_text[end + 1]))
        {
            isFloat = true;
            end = Digits(end + 1);
        }
        if (!afterDot && end < _text.Length && _text[end] is 'e' or 'E')
        {
            int exponent = end + 1;
            if (exponent < _text.Length && _text[exponent] is '+' or '-') exponent++;
            if (exponent < _text.Length && char.IsAsciiDigit(_text[exponent]))
            {
                isFloat = true;
                end = Digits(exponent);
            }
        }
        CheckDigits(end - start, start);
        string digits = _text[start..end].Replace("_", "", StringComparison.Ordinal);
        _position = end;
        JinjaValue number = isFloat
            ? new JinjaFloat(double.Parse(digits, CultureInfo.InvariantCulture))
            : JinjaInt.Of(BigInteger.Parse(digits, CultureInfo.InvariantCulture));
        _tokens.Add(new(TokenKind.Number, digits, start, number));

        static int Radix(char c) => char.ToLowerInvariant(c) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 0 };

        static int Digit(char c) => char.IsAsciiHexDigit(c) ? Convert.ToInt32(c.ToString(), 16) : 99;
    }

    private void CheckDigits(int count, int offset)
    {
        const int bound = TemplateLimits.IntegerBits / 4;
        if (count > bound) throw _source.Error(TemplateErrorKind.Limit, $"a number is longer than the bound of {bound} digits", offset);
    }

    private int Digits(int position)
    {
        while (position < _text.Length && (char.IsAsciiDigit(_text[position])
            || (_text[position] == '_' && position + 1 < _text.Length && char.IsAsciiDigit(_text[position + 1])))) position++;
        return position;
    }

    private void Operator()
    {
        foreach (string candidate in Operators)
        {
            if (!HasAt(_position, candidate)) continue;
            char c = candidate[0];
            if (c is '(' or '[' or '{')
            {
                if (_brackets.Count >= TemplateLimits.Depth)
                    throw _source.Error(TemplateErrorKind.Limit, $"brackets nest deeper than the bound of {TemplateLimits.Depth}", _position);
                _brackets.Push((c == '(' ? ')' : c == '[' ? ']' : '}', _position));
            }
            else if (c is ')' or ']' or '}')
            {
                if (!_brackets.TryPop(out (char Closer, int Offset) open)) throw Error($"unexpected '{c}'", _position);
                if (open.Closer != c) throw Error($"unexpected '{c}', expected '{open.Closer}'", _position);
            }
            _tokens.Add(new(TokenKind.Operator, candidate, _position));
            _position += candidate.Length;
            return;
        }
        if (_text[_position] == '!') throw Error("unexpected '!'; the operator is 'not'", _position);
        throw Error($"unexpected character '{Rune.GetRuneAt(_text, _position)}'", _position);
    }

    private void String(char quote)
    {
        int start = _position;
        int end = start + 1;
        for (; end < _text.Length && _text[end] != quote; end++)
            if (_text[end] == '\\')
                end++;
        if (end >= _text.Length) throw Error("a string is not closed", start);
        _tokens.Add(new(TokenKind.String, Unescape(_text.AsSpan(start + 1, end - start - 1), start), start));
        _position = end + 1;
    }

    /// <summary>Python's escapes; one that Python does not know keeps its backslash.</summary>
    private string Unescape(ReadOnlySpan<char> body, int offset)
    {
        if (!body.Contains('\\')) return body.ToString();
        StringBuilder builder = new(body.Length);
        for (int i = 0; i < body.Length; i++)
        {
            if (body[i] != '\\')
            {
                builder.Append(body[i]);
                continue;
            }
            char c = body[++i];
            int simple = "\\'\"abfnrtv".IndexOf(c);
            if (simple >= 0) builder.Append("\\'\"\a\b\f\n\r\t\v"[simple]);
            else if (c == '\n') continue;
            else if (c is 'x' or 'u' or 'U') builder.Append(HexEscape(body, ref i, c == 'x' ? 2 : c == 'u' ? 4 : 8, offset));
            else if (c is >= '0' and <= '7')
            {
                int value = 0;
                int digits = 0;
                for (; digits < 3 && i + digits < body.Length && body[i + digits] is >= '0' and <= '7'; digits++) value = (value * 8) + (body[i + digits] - '0');
                i += digits - 1;
                builder.Append((char)value);
            }
            else if (c == 'N') throw Error(@"a string uses the escape \N{...}; write the character itself or \u and its number", offset);
            else builder.Append('\\').Append(c);
        }
        string text = builder.ToString();
        if (PythonText.ReplaceLoneSurrogates(text) != text) throw Error("a string holds half of a surrogate pair, which is no character", offset);
        return text;
    }

    private string HexEscape(ReadOnlySpan<char> body, ref int i, int digits, int offset)
    {
        if (i + digits >= body.Length || !uint.TryParse(body.Slice(i + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint value) || value > 0x10FFFF)
            throw Error($@"a string has an escape \{body[i]} without {digits} hexadecimal digits of a character", offset);
        i += digits;
        return value > 0xFFFF ? char.ConvertFromUtf32((int)value) : ((char)value).ToString();
    }

    private TemplateException Error(string reason, int offset) => _source.Error(TemplateErrorKind.Syntax, reason, offset);
}
