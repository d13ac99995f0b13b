namespace Nibble.Llm.Templates;

/// <summary>HTML escaping as markupsafe does it.</summary>
internal static class Html
{
    /// <summary>The string escaped and safe; a safe one as it is. An entity has the mark of the character it stands for.</summary>
    public static JinjaString Escape(RenderState state, JinjaString text, bool force = false)
    {
        if (text.IsSafe && !force) return text;
        MarkedText flat = text.Flat(state);
        state.ChargeText(flat.Text.Length);
        MarkedTextBuilder builder = new();
        int start = 0;
        while (start < flat.Text.Length)
        {
            int length = flat.Text.AsSpan(start).IndexOfAny("&<>'\"");
            if (length < 0) length = flat.Text.Length - start;
            builder.Append(flat, start, length);
            start += length;
            if (start == flat.Text.Length) break;
            string entity = flat.Text[start] switch { '&' => "&amp;", '<' => "&lt;", '>' => "&gt;", '\'' => "&#39;", _ => "&#34;" };
            builder.Append(entity, flat.IsLiteralAt(start));
            start++;
        }
        state.CheckStringLength(builder.Length);
        return new(builder.ToText(), isSafe: true);
    }
}
