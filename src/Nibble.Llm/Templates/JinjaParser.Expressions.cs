namespace Nibble.Llm.Templates;

internal sealed partial class JinjaParser
{
    /// <summary>An expression, or a tuple where commas follow.</summary>
    private Expression ParseTuple(bool withConditional = true, string? endWord = null, bool inParentheses = false)
    {
        Token start = Current;
        List<Expression> items = [];
        bool isTuple = false;
        while (!IsTupleEnd(endWord))
        {
            items.Add(withConditional ? ParseExpression() : ParseOr());
            if (!SkipOperator(",")) break;
            isTuple = true;
        }
        if (!isTuple && items.Count == 1) return items[0];
        if (!isTuple && !inParentheses) throw Error($"expected an expression, got '{Current.Describe()}'", Current.Offset);
        return new SequenceExpression(SequenceKind.Tuple, items.ToArray(), start.Offset);
    }

    private bool IsTupleEnd(string? endWord) =>
        Current.Kind is TokenKind.VariableEnd or TokenKind.BlockEnd || Current.Is(")") || (endWord is not null && Current.Kind == TokenKind.Name && Current.Text == endWord);

    private Expression ParseExpression()
    {
        Expression value = ParseOr();
        while (Current.Kind == TokenKind.Name && Current.Text == "if")
        {
            using Nesting nesting = Nest();
            int position = Current.Offset;
            _index++;
            _conditional++;
            Expression test = ParseOr();
            Expression? otherwise = SkipWord("else") ? ParseExpression() : null;
            _conditional--;
            value = new ConditionalExpression(test, value, otherwise, position);
        }
        return value;
    }

    private Expression ParseOr() => ParseLogical("or", ParseAnd, isAnd: false);

    private Expression ParseAnd() => ParseLogical("and", ParseNot, isAnd: true);

    private Expression ParseLogical(string word, Func<Expression> parseOperand, bool isAnd)
    {
        int position = Current.Offset;
        Expression first = parseOperand();
        if (!(Current.Kind == TokenKind.Name && Current.Text == word)) return first;
        List<Expression> operands = [first];
        while (SkipWord(word)) operands.Add(parseOperand());
        return new LogicalExpression(operands.ToArray(), isAnd, position);
    }

    private Expression ParseNot()
    {
        int position = Current.Offset;
        if (!SkipWord("not")) return ParseCompare();
        using Nesting nesting = Nest();
        return new NotExpression(ParseNot(), position);
    }

    private Expression ParseCompare()
    {
        int position = Current.Offset;
        Expression first = ParseSum();
        List<(string, Expression)>? rest = null;
        while (true)
        {
            string operation;
            if (Current.Kind == TokenKind.Operator && Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=") operation = Current.Text;
            else if (Current.Kind == TokenKind.Name && Current.Text == "in") operation = "in";
            else if (Current.Kind == TokenKind.Name && Current.Text == "not" && Following.Kind == TokenKind.Name && Following.Text == "in") operation = "not in";
            else return rest is null ? first : new CompareExpression(first, rest, position);
            _index += operation == "not in" ? 2 : 1;
            (rest ??= []).Add((operation, ParseSum()));
        }
    }

    private Expression ParseSum() => ParseChain(ParseConcat, "+", "-");

    private Expression ParseConcat()
    {
        int position = Current.Offset;
        Expression first = ParseProduct();
        if (!Current.Is("~")) return first;
        List<Expression> operands = [first];
        while (SkipOperator("~")) operands.Add(ParseProduct());
        return new ConcatExpression(operands.ToArray(), position);
    }

    private Expression ParseProduct() => ParseChain(ParsePower, "*", "/", "//", "%");

    private Expression ParsePower() => ParseChain(() => ParseUnary(withFilter: true), "**");

    private Expression ParseChain(Func<Expression> parseOperand, params string[] operators)
    {
        int position = Current.Offset;
        Expression first = parseOperand();
        List<(string, Expression, int)>? rest = null;
        while (Current.Kind == TokenKind.Operator && operators.Contains(Current.Text))
        {
            Token operation = Current;
            _index++;
            (rest ??= []).Add((operation.Text, parseOperand(), operation.Offset));
        }
        return rest is null ? first : new ArithmeticExpression(first, rest, position);
    }

    private Expression ParseUnary(bool withFilter)
    {
        int position = Current.Offset;
        Expression value;
        if (Current.Is("-") || Current.Is("+"))
        {
            using Nesting nesting = Nest();
            bool negative = Current.Is("-");
            _index++;
            value = new SignExpression(ParseUnary(withFilter: false), negative, position);
        }
        else
        {
            value = ParsePrimary();
        }
        value = ParsePostfix(value);
        return withFilter ? ParseFilterSuffixes(value) : value;
    }

    private Expression ParsePrimary()
    {
        Token token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                _index++;
                switch (token.Text)
                {
                    case "true" or "True":
                        return new ConstantExpression(JinjaValue.True, token.Offset);
                    case "false" or "False":
                        return new ConstantExpression(JinjaValue.False, token.Offset);
                    case "none" or "None":
                        return new ConstantExpression(JinjaValue.None, token.Offset);
                    default:
                        _namesRead.Add(token.Text);
                        return new NameExpression(token.Text, token.Offset);
                }
            case TokenKind.String:
                List<string> parts = [];
                for (; Current.Kind == TokenKind.String; _index++) parts.Add(Current.Text);
                return new ConstantExpression(JinjaString.Of(string.Concat(parts), isLiteral: true), token.Offset);
            case TokenKind.Number:
                _index++;
                return new ConstantExpression(token.Number!, token.Offset);
            case TokenKind.Operator when token.Text == "(":
                {
                    using Nesting nesting = Nest();
                    _index++;
                    Expression inner = ParseTuple(inParentheses: true);
                    ExpectOperator(")");
                    return inner;
                }
            case TokenKind.Operator when token.Text == "[":
                return ParseList(token);
            case TokenKind.Operator when token.Text == "{":
                return ParseDict(token);
            default:
                throw Error($"expected an expression, got '{token.Describe()}'", token.Offset);
        }
    }

    private SequenceExpression ParseList(Token open)
    {
        using Nesting nesting = Nest();
        _index++;
        List<Expression> items = [];
        while (!Current.Is("]"))
        {
            if (items.Count > 0) ExpectOperator(",");
            if (Current.Is("]")) break;
            items.Add(ParseExpression());
        }
        _index++;
        return new(SequenceKind.List, items.ToArray(), open.Offset);
    }

    private DictExpression ParseDict(Token open)
    {
        using Nesting nesting = Nest();
        _index++;
        List<(Expression, Expression)> pairs = [];
        while (!Current.Is("}"))
        {
            if (pairs.Count > 0) ExpectOperator(",");
            if (Current.Is("}")) break;
            Expression key = ParseExpression();
            ExpectOperator(":");
            pairs.Add((key, ParseExpression()));
        }
        _index++;
        return new(pairs, open.Offset);
    }

    private Expression ParsePostfix(Expression value)
    {
        while (true)
        {
            Token token = Current;
            if (SkipOperator(".")) value = ParseAttribute(value, token.Offset);
            else if (Current.Is("[")) value = ParseSubscript(value, token.Offset);
            else if (Current.Is("(")) value = new CallExpression(value, ParseArguments(), token.Offset);
            else return value;
        }
    }

    private Expression ParseAttribute(Expression target, int position)
    {
        Token name = Current;
        _index++;
        return name.Kind switch
        {
            TokenKind.Name => new AttributeExpression(target, name.Text, position),
            TokenKind.Number when name.Number is JinjaInt => new ItemExpression(target, new ConstantExpression(name.Number, name.Offset), position),
            _ => throw Error($"expected a name or number after '.', got '{name.Describe()}'", name.Offset),
        };
    }

    private Expression ParseSubscript(Expression target, int position)
    {
        using Nesting nesting = Nest();
        _index++;
        List<Expression> keys = [];
        Expression? slice = null;
        while (!Current.Is("]"))
        {
            if (keys.Count > 0) ExpectOperator(",");
            Expression? start = Current.Is(":") ? null : ParseExpression();
            if (start is not null && !Current.Is(":"))
            {
                keys.Add(start);
                continue;
            }
            ExpectOperator(":");
            Expression? stop = Current.Is(":") || Current.Is("]") ? null : ParseExpression();
            Expression? step = SkipOperator(":") && !Current.Is("]") ? ParseExpression() : null;
            if (keys.Count > 0 || !Current.Is("]")) throw Error("a slice stands alone between its brackets", Current.Offset);
            slice = new SliceExpression(target, start, stop, step, position);
        }
        _index++;
        if (slice is not null) return slice;
        return keys.Count switch
        {
            1 => new ItemExpression(target, keys[0], position),
            _ => new ItemExpression(target, new SequenceExpression(SequenceKind.Tuple, keys.ToArray(), position), position),
        };
    }

    private ArgumentList ParseArguments()
    {
        using Nesting nesting = Nest();
        int position = Current.Offset;
        ExpectOperator("(");
        List<Expression> positional = [];
        List<(string, Expression)> named = [];
        Expression? spread = null;
        Expression? namedSpread = null;
        bool first = true;
        while (!Current.Is(")"))
        {
            if (!first) ExpectOperator(",");
            first = false;
            if (Current.Is(")")) break;
            if (SkipOperator("*"))
            {
                Ensure(spread is null && namedSpread is null);
                spread = ParseExpression();
            }
            else if (SkipOperator("**"))
            {
                Ensure(namedSpread is null);
                namedSpread = ParseExpression();
            }
            else if (Current.Kind == TokenKind.Name && Following.Is("="))
            {
                Ensure(namedSpread is null);
                string name = Current.Text;
                _index += 2;
                named.Add((name, ParseExpression()));
            }
            else
            {
                Ensure(spread is null && namedSpread is null && named.Count == 0);
                positional.Add(ParseExpression());
            }
        }
        _index++;
        if (positional.Count == 0 && named.Count == 0 && spread is null && namedSpread is null) return ArgumentList.Empty;
        return new(positional.ToArray(), named, spread, namedSpread);

        void Ensure(bool valid)
        {
            if (!valid) throw Error("invalid order of arguments: first positional, then named, then * and **, each once", position);
        }
    }

    /// <summary>Filters, tests and calls of their results after an operand.</summary>
    private Expression ParseFilterSuffixes(Expression value)
    {
        while (true)
        {
            if (Current.Is("|")) value = ParseFilters(value);
            else if (Current.Kind == TokenKind.Name && Current.Text == "is") value = ParseTest(value);
            else if (Current.Is("(")) value = new CallExpression(value, ParseArguments(), Current.Offset);
            else return value;
        }
    }

    private Expression ParseFilters(Expression? value, bool startInline = false)
    {
        while (startInline || Current.Is("|"))
        {
            if (!startInline) _index++;
            startInline = false;
            (string name, int position) = ParseDottedName("the name of a filter");
            if (!JinjaFilters.Exists(name) && _conditional == 0) throw Error($"no filter named '{name}'", position);
            value = new FilterExpression(value, name, Current.Is("(") ? ParseArguments() : ArgumentList.Empty, position);
        }
        return value!;
    }

    private TestExpression ParseTest(Expression value)
    {
        _index++;
        bool negated = SkipWord("not");
        (string name, int position) = ParseDottedName("the name of a test");
        if (!JinjaTests.Exists(name) && _conditional == 0) throw Error($"no test named '{name}'", position);
        ArgumentList arguments = ArgumentList.Empty;
        Token next = Current;
        if (next.Is("("))
        {
            arguments = ParseArguments();
        }
        else if (next.Kind is TokenKind.Name or TokenKind.String or TokenKind.Number || next.Is("[") || next.Is("{"))
        {
            if (next.Kind == TokenKind.Name && next.Text == "is") throw Error("tests cannot be chained with 'is'", next.Offset);
            if (next.Kind != TokenKind.Name || next.Text is not ("else" or "or" or "and"))
                arguments = new([ParsePostfix(ParsePrimary())], [], null, null);
        }
        return new(value, name, arguments, negated, position);
    }

    private (string Name, int Position) ParseDottedName(string what)
    {
        Token token = ExpectName(what);
        string name = token.Text;
        while (SkipOperator(".")) name += "." + ExpectName(what).Text;
        return (name, token.Offset);
    }
}
