namespace Nibble.Llm.Templates;

/// <summary>
/// A string with marks. Concatenation is O(1): a rope, flattened when somebody reads the characters, so that a template may
/// grow a string by a message at a time in linear time.
/// </summary>
internal sealed class JinjaString : JinjaValue
{
    public static readonly JinjaString Empty = new(MarkedText.Empty, false);

    /// <summary>Below this length copying is cheaper than a node.</summary>
    private const int CopyBelow = 64;

    private MarkedText? _flat;
    private JinjaString? _left;
    private JinjaString? _right;

    public JinjaString(MarkedText text, bool isSafe = false)
    {
        _flat = text;
        Length = text.Text.Length;
        CodePoints = PythonText.CountCodePoints(text.Text);
        IsSafe = isSafe;
    }

    private JinjaString(JinjaString left, JinjaString right, bool isSafe)
    {
        _left = left;
        _right = right;
        Length = left.Length + right.Length;
        CodePoints = left.CodePoints + right.CodePoints;
        IsSafe = isSafe;
    }

    /// <summary>UTF-16 code units.</summary>
    public int Length { get; }

    /// <summary>Unicode code points: Python's len.</summary>
    public int CodePoints { get; }

    /// <summary>True for what the filters <c>safe</c> and <c>escape</c> give (markupsafe's Markup): adding a plain string escapes that string.</summary>
    public bool IsSafe { get; }

    internal override string TypeName => IsSafe ? "Markup" : "str";

    internal override bool IsTrue => Length != 0;

    public static JinjaString Of(string text, bool isLiteral) => text.Length == 0 ? Empty : new(MarkedText.Of(text, isLiteral));

    /// <summary>The characters, flattened; the copying is charged to <paramref name="state"/>.</summary>
    public MarkedText Flat(RenderState state)
    {
        if (_flat is not null) return _flat;
        state.ChargeText(Length);
        MarkedTextBuilder builder = new();
        Stack<JinjaString> pending = new();
        pending.Push(this);
        while (pending.TryPop(out JinjaString? part))
        {
            if (part._flat is not null)
            {
                builder.Append(part._flat);
                continue;
            }
            pending.Push(part._right!);
            pending.Push(part._left!);
        }
        _flat = builder.ToText();
        _left = _right = null;
        return _flat;
    }

    public JinjaString WithSafe(RenderState state, bool isSafe) => isSafe == IsSafe ? this : new(Flat(state), isSafe);

    /// <summary>The two strings one after the other; both keep their marks.</summary>
    public static JinjaString Concat(RenderState state, JinjaString left, JinjaString right, bool isSafe = false)
    {
        if (right.Length == 0 && left.IsSafe == isSafe) return left;
        if (left.Length == 0 && right.IsSafe == isSafe) return right;
        state.CheckStringLength((long)left.Length + right.Length);
        if (left._flat is null || right._flat is null || left.Length + right.Length >= CopyBelow) return new(left, right, isSafe);
        MarkedTextBuilder builder = new();
        builder.Append(left._flat);
        builder.Append(right._flat);
        return new(builder.ToText(), isSafe);
    }
}
