using System.Globalization;
using System.Numerics;
using System.Runtime.CompilerServices;

namespace Nibble.Llm.Templates;

/// <summary>Python's operators on values.</summary>
internal static class PythonOperators
{
    public static bool TryInteger(JinjaValue value, out BigInteger integer)
    {
        switch (value)
        {
            case JinjaInt number:
                integer = number.Value;
                return true;
            case JinjaBool flag:
                integer = flag.Value ? BigInteger.One : BigInteger.Zero;
                return true;
            default:
                integer = default;
                return false;
        }
    }

    public static bool TryFloat(JinjaValue value, out double number)
    {
        if (value is JinjaFloat real)
        {
            number = real.Value;
            return true;
        }
        bool isInteger = TryInteger(value, out BigInteger integer);
        number = isInteger ? (double)integer : 0;
        return isInteger;
    }

    public static JinjaValue Integer(RenderState state, BigInteger value)
    {
        if (value.GetBitLength() > TemplateLimits.IntegerBits)
            throw state.LimitError($"an integer of {value.GetBitLength()} bits exceeds the bound of {TemplateLimits.IntegerBits}");
        return JinjaInt.Of(value);
    }

    public static void RejectUndefined(RenderState state, JinjaValue value)
    {
        if (value is JinjaUndefined undefined) throw state.Error(undefined.Message);
    }

    public static bool AreEqual(RenderState state, JinjaValue left, JinjaValue right)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        state.ChargeNode();
        switch (left, right)
        {
            case (JinjaString a, JinjaString b):
                if (a.Length != b.Length) return false;
                state.ChargeText(a.Length);
                return a.Flat(state).Text == b.Flat(state).Text;
            case (JinjaNone, JinjaNone) or (JinjaUndefined, JinjaUndefined):
                return true;
            case (JinjaSequence a, JinjaSequence b) when a.Kind == b.Kind && a.Kind is SequenceKind.List or SequenceKind.Tuple or SequenceKind.Range:
                if (a.Items.Length != b.Items.Length) return false;
                for (int i = 0; i < a.Items.Length; i++)
                    if (!AreEqual(state, a.Items[i], b.Items[i]))
                        return false;
                return true;
            case (JinjaDict a, JinjaDict b):
                if (a.Items.Count != b.Items.Count) return false;
                foreach ((JinjaValue key, JinjaValue value) in a.Items)
                    if (!b.Items.TryGetValue(key, out JinjaValue? other) || !AreEqual(state, value, other))
                        return false;
                return true;
        }
        if (TryInteger(left, out BigInteger x) && TryInteger(right, out BigInteger y)) return x == y;
        if (left is JinjaFloat || right is JinjaFloat) return TryCompareNumbers(left, right, out int order) && order == 0;
        return ReferenceEquals(left, right);
    }

    /// <summary>Python's ordering; values without one fail.</summary>
    public static int Compare(RenderState state, JinjaValue left, JinjaValue right, string operation)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        state.ChargeNode();
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        switch (left, right)
        {
            case (JinjaString a, JinjaString b):
                state.ChargeText(Math.Min(a.Length, b.Length));
                return CompareCodePoints(a.Flat(state).Text, b.Flat(state).Text);
            case (JinjaSequence a, JinjaSequence b) when a.Kind == b.Kind && a.Kind is SequenceKind.List or SequenceKind.Tuple:
                for (int i = 0; i < Math.Min(a.Items.Length, b.Items.Length); i++)
                    if (!AreEqual(state, a.Items[i], b.Items[i]))
                        return Compare(state, a.Items[i], b.Items[i], operation);
                return Math.Sign(a.Items.Length.CompareTo(b.Items.Length));
        }
        if (TryFloat(left, out _) && TryFloat(right, out _))
        {
            // An unordered pair (NaN) is neither less, equal nor greater; 2 says so to the caller's tests for -1, 0 and 1.
            return TryCompareNumbers(left, right, out int order) ? order : Unordered;
        }
        throw state.Error($"'{operation}' not supported between instances of '{left.TypeName}' and '{right.TypeName}'");
    }

    /// <summary>What <see cref="Compare"/> gives when one number is NaN.</summary>
    public const int Unordered = 2;

    private static bool TryCompareNumbers(JinjaValue left, JinjaValue right, out int order)
    {
        order = 0;
        if (TryInteger(left, out BigInteger x) && TryInteger(right, out BigInteger y))
        {
            order = Math.Sign(x.CompareTo(y));
            return true;
        }
        if (!TryFloat(left, out double a) || !TryFloat(right, out double b) || double.IsNaN(a) || double.IsNaN(b)) return false;
        // Whole values beyond 2^53 are compared as integers, since a double would round the integer side.
        if (double.IsInteger(a) && double.IsInteger(b) && (left is not JinjaFloat || right is not JinjaFloat))
            order = Math.Sign((left is JinjaFloat ? new BigInteger(a) : x).CompareTo(right is JinjaFloat ? new BigInteger(b) : IntegerOf(right)));
        else order = Math.Sign(a.CompareTo(b));
        return true;

        static BigInteger IntegerOf(JinjaValue value) => TryInteger(value, out BigInteger integer) ? integer : default;
    }

    private static int CompareCodePoints(string a, string b)
    {
        int common = a.AsSpan().CommonPrefixLength(b);
        if (common == a.Length || common == b.Length) return Math.Sign(a.Length.CompareTo(b.Length));
        // UTF-16 puts surrogates below U+E000; code points above U+FFFF are greater than all others.
        (char x, char y) = (a[common], b[common]);
        return (Weight(x) - Weight(y)) < 0 ? -1 : 1;

        static int Weight(char c) => char.IsSurrogate(c) ? c + 0x10000 : c;
    }

    public static bool Contains(RenderState state, JinjaValue container, JinjaValue item)
    {
        switch (container)
        {
            case JinjaString text:
                RejectUndefined(state, item);
                if (item is not JinjaString part) throw state.Error($"'in <string>' requires string as left operand, not {item.TypeName}");
                state.ChargeText(text.Length);
                return text.Flat(state).Text.Contains(part.Flat(state).Text, StringComparison.Ordinal);
            case JinjaDict dict:
                return dict.Items.ContainsKey(Hashable(state, item));
            case JinjaUndefined:
                return false;
            case JinjaSequence or JinjaLoop:
                foreach (JinjaValue candidate in Iterate(state, container))
                    if (AreEqual(state, candidate, item))
                        return true;
                return false;
            default:
                throw state.Error($"argument of type '{container.TypeName}' is not iterable");
        }
    }

    /// <summary>The value as a dict key, or the error that Python gives for lists and dicts.</summary>
    public static JinjaValue Hashable(RenderState state, JinjaValue key)
    {
        switch (key)
        {
            case JinjaDict or JinjaSequence { Kind: SequenceKind.List or SequenceKind.Keys or SequenceKind.Items }:
                throw state.Error($"unhashable type: '{key.TypeName}'");
            case JinjaSequence { Kind: SequenceKind.Tuple } tuple:
                state.ChargeItems(tuple.Items.Length);
                foreach (JinjaValue item in tuple.Items)
                    if (item is JinjaSequence or JinjaDict)
                        throw state.Error("a tuple that holds other collections is no dict key here");
                return key;
            case JinjaString text:
                state.ChargeText(text.Length);
                return key;
            default:
                return key;
        }
    }

    /// <summary>The items of an iterable; a generator is read to its end.</summary>
    public static ArraySegment<JinjaValue> Iterate(RenderState state, JinjaValue value)
    {
        switch (value)
        {
            case JinjaSequence { Kind: SequenceKind.Generator } generator:
                ArraySegment<JinjaValue> rest = new(generator.Items, generator.Position, generator.Items.Length - generator.Position);
                generator.Position = generator.Items.Length;
                return rest;
            case JinjaSequence sequence:
                return sequence.Items;
            case JinjaDict dict:
                state.ChargeItems(dict.Items.Count);
                return dict.Items.Keys.ToArray();
            case JinjaUndefined:
                return ArraySegment<JinjaValue>.Empty;
            case JinjaLoop loop:
                return new(loop.Items, loop.Index + 1, loop.Items.Length - loop.Index - 1);
            case JinjaString text:
                state.ChargeItems(text.CodePoints);
                MarkedText flat = text.Flat(state);
                JinjaValue[] characters = new JinjaValue[text.CodePoints];
                for (int i = 0, offset = 0; i < characters.Length; i++)
                {
                    int length = char.IsHighSurrogate(flat.Text[offset]) ? 2 : 1;
                    characters[i] = new JinjaString(flat.Slice(offset, length));
                    offset += length;
                }
                return characters;
            default:
                throw state.Error($"'{value.TypeName}' object is not iterable");
        }
    }

    public static JinjaValue Add(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        switch (left, right)
        {
            case (JinjaString a, JinjaString b):
                if (!a.IsSafe && !b.IsSafe) return JinjaString.Concat(state, a, b);
                return JinjaString.Concat(state, Html.Escape(state, a), Html.Escape(state, b), isSafe: true);
            case (JinjaSequence a, JinjaSequence b) when a.Kind == b.Kind && a.Kind is SequenceKind.List or SequenceKind.Tuple:
                state.ChargeItems((long)a.Items.Length + b.Items.Length);
                return new JinjaSequence(a.Kind, [.. a.Items, .. b.Items]);
        }
        return Arithmetic(state, "+", left, right, BigInteger.Add, (x, y) => x + y)
            ?? throw state.Error(left is JinjaString
                ? $"can only concatenate str (not \"{right.TypeName}\") to str"
                : $"unsupported operand type(s) for +: '{left.TypeName}' and '{right.TypeName}'");
    }

    public static JinjaValue Multiply(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        if (TryInteger(left, out BigInteger count) && right is JinjaString or JinjaSequence) return Repeat(state, right, count) ?? throw Unsupported(state, "*", left, right);
        if (TryInteger(right, out count) && left is JinjaString or JinjaSequence) return Repeat(state, left, count) ?? throw Unsupported(state, "*", left, right);
        return Arithmetic(state, "*", left, right, BigInteger.Multiply, (x, y) => x * y) ?? throw Unsupported(state, "*", left, right);
    }

    private static JinjaValue? Repeat(RenderState state, JinjaValue value, BigInteger count)
    {
        if (count.Sign < 0) count = BigInteger.Zero;
        switch (value)
        {
            case JinjaString text:
                if (text.Length == 0) return text;
                state.CheckStringLength((long)BigInteger.Min(count * text.Length, long.MaxValue));
                state.ChargeText((long)count * text.Length);
                MarkedTextBuilder builder = new();
                MarkedText flat = text.Flat(state);
                for (int i = 0; i < (int)count; i++) builder.Append(flat);
                return new JinjaString(builder.ToText(), text.IsSafe);
            case JinjaSequence { Kind: SequenceKind.List or SequenceKind.Tuple } sequence:
                BigInteger total = count * sequence.Items.Length;
                state.ChargeItems((long)BigInteger.Min(total, long.MaxValue));
                JinjaValue[] items = new JinjaValue[(int)total];
                for (int i = 0; i < items.Length; i++) items[i] = sequence.Items[i % sequence.Items.Length];
                return new JinjaSequence(sequence.Kind, items);
            default:
                return null;
        }
    }

    public static JinjaValue Subtract(RenderState state, JinjaValue left, JinjaValue right) =>
        Arithmetic(state, "-", left, right, BigInteger.Subtract, (x, y) => x - y) ?? throw Unsupported(state, "-", left, right);

    public static JinjaValue Divide(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        if (!TryFloat(left, out double x) || !TryFloat(right, out double y)) throw Unsupported(state, "/", left, right);
        if (y == 0) throw state.Error(left is JinjaFloat || right is JinjaFloat ? "float division by zero" : "division by zero");
        return new JinjaFloat(x / y);
    }

    public static JinjaValue FloorDivide(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectZeroDivisor(state, right, left is JinjaFloat || right is JinjaFloat ? "float floor division by zero" : "integer division or modulo by zero");
        return Arithmetic(state, "//", left, right, FloorDivide, (x, y) => Math.Floor(x / y)) ?? throw Unsupported(state, "//", left, right);
    }

    public static JinjaValue Modulo(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectUndefined(state, left);
        if (left is JinjaString format) return PercentFormat.Format(state, format, right);
        RejectZeroDivisor(state, right, left is JinjaFloat || right is JinjaFloat ? "float modulo" : "integer modulo by zero");
        return Arithmetic(state, "%", left, right, (x, y) => x - (FloorDivide(x, y) * y), FloatModulo) ?? throw Unsupported(state, "%", left, right);
    }

    public static JinjaValue Power(RenderState state, JinjaValue left, JinjaValue right)
    {
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        if (TryInteger(left, out BigInteger x) && TryInteger(right, out BigInteger y) && y.Sign >= 0)
        {
            if (x.IsZero || x.IsOne) return JinjaInt.Of(y.IsZero ? BigInteger.One : x);
            if (x == BigInteger.MinusOne) return JinjaInt.Of(y.IsEven ? BigInteger.One : x);
            if ((x.GetBitLength() - 1) * y > TemplateLimits.IntegerBits || y > TemplateLimits.IntegerBits)
                throw state.LimitError($"a power exceeds the bound of {TemplateLimits.IntegerBits} bits");
            return Integer(state, BigInteger.Pow(x, (int)y));
        }
        if (!TryFloat(left, out double a) || !TryFloat(right, out double b)) throw Unsupported(state, "** or pow()", left, right);
        if (a == 0 && b < 0) throw state.Error("0.0 cannot be raised to a negative power");
        if (a < 0 && !double.IsInteger(b)) throw state.Error("a negative number to a fractional power is complex, which templates do not have");
        double power = Math.Pow(a, b);
        if (double.IsInfinity(power) && double.IsFinite(a) && double.IsFinite(b)) throw state.Error("(34, 'Numerical result out of range')");
        return new JinjaFloat(power);
    }

    public static JinjaValue Negate(RenderState state, JinjaValue value, bool negative)
    {
        RejectUndefined(state, value);
        if (TryInteger(value, out BigInteger integer)) return JinjaInt.Of(negative ? -integer : integer);
        if (value is JinjaFloat number) return negative ? new JinjaFloat(-number.Value) : value;
        throw state.Error($"bad operand type for unary {(negative ? '-' : '+')}: '{value.TypeName}'");
    }

    public static BigInteger FloorDivide(BigInteger x, BigInteger y)
    {
        BigInteger quotient = BigInteger.DivRem(x, y, out BigInteger remainder);
        return !remainder.IsZero && (remainder.Sign < 0) != (y.Sign < 0) ? quotient - 1 : quotient;
    }

    private static double FloatModulo(double x, double y)
    {
        double remainder = x % y;
        if (remainder != 0) return (remainder < 0) != (y < 0) ? remainder + y : remainder;
        return Math.CopySign(0, y);
    }

    private static void RejectZeroDivisor(RenderState state, JinjaValue divisor, string message)
    {
        if (TryFloat(divisor, out double y) && y == 0) throw state.Error(message);
    }

    private static JinjaValue? Arithmetic(
        RenderState state, string operation, JinjaValue left, JinjaValue right, Func<BigInteger, BigInteger, BigInteger> integers, Func<double, double, double> floats)
    {
        RejectUndefined(state, left);
        RejectUndefined(state, right);
        if (TryInteger(left, out BigInteger x) && TryInteger(right, out BigInteger y)) return Integer(state, integers(x, y));
        if (!TryFloat(left, out double a) || !TryFloat(right, out double b)) return null;
        if (double.IsInfinity(a) && left is not JinjaFloat || double.IsInfinity(b) && right is not JinjaFloat)
            throw state.Error(string.Create(CultureInfo.InvariantCulture, $"int too large to convert to float in '{operation}'"));
        return new JinjaFloat(floats(a, b));
    }

    private static TemplateException Unsupported(RenderState state, string operation, JinjaValue left, JinjaValue right) =>
        state.Error($"unsupported operand type(s) for {operation}: '{left.TypeName}' and '{right.TypeName}'");
}
