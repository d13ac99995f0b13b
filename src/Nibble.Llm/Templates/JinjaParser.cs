using System.Runtime.CompilerServices;

namespace Nibble.Llm.Templates;

/// <summary>Parses a template's statements; expressions are in the other part.</summary>
internal sealed partial class JinjaParser
{
    private static readonly Dictionary<string, Func<JinjaParser, int, Statement>> Tags = new(StringComparer.Ordinal)
    {
        ["if"] = (parser, position) => parser.ParseIf(position),
        ["for"] = (parser, position) => parser.ParseFor(position),
        ["set"] = (parser, position) => parser.ParseSet(position),
        ["macro"] = (parser, position) => parser.ParseMacro(position),
        ["call"] = (parser, position) => parser.ParseCall(position),
        ["filter"] = (parser, position) => parser.ParseFilterBlock(position),
        ["with"] = (parser, position) => parser.ParseWith(position),
        ["print"] = (parser, position) => new OutputStatement(parser.ParseTuple(), position),
        ["break"] = (parser, position) => parser.ParseJump(Flow.Break, position),
        ["continue"] = (parser, position) => parser.ParseJump(Flow.Continue, position),
        ["generation"] = (parser, position) => new GenerationStatement(parser.ParseBody("endgeneration"), position),
    };

    /// <summary>Jinja's tags for pages made of several files; a chat template is one.</summary>
    private static readonly HashSet<string> FileTags = ["extends", "block", "include", "import", "from", "autoescape"];

    private readonly SourceText _source;
    private readonly List<Token> _tokens;
    private int _index;
    private int _depth;
    private int _loops;

    /// <summary>Above zero inside <c>if</c> bodies and conditional expressions, where jinja2 reports an unknown filter or test only when it runs.</summary>
    private int _conditional;

    /// <summary>Names read since the innermost macro began.</summary>
    private HashSet<string> _namesRead = new(StringComparer.Ordinal);

    private JinjaParser(SourceText source)
    {
        _source = source;
        _tokens = JinjaLexer.Tokenize(source);
    }

    private Token Current => _tokens[_index];

    private Token Following => _tokens[Math.Min(_index + 1, _tokens.Count - 1)];

    public static IReadOnlyList<Statement> Parse(SourceText source)
    {
        JinjaParser parser = new(source);
        IReadOnlyList<Statement> body = parser.ParseStatements([]);
        return body;
    }

    /// <summary>Parses up to a tag in <paramref name="ends"/>, which stays the current token, or to the end of the template where there are none.</summary>
    private List<Statement> ParseStatements(ReadOnlySpan<string> ends)
    {
        using Nesting nesting = Nest();
        List<Statement> body = [];
        int opened = _index > 0 ? _tokens[_index - 1].Offset : 0;
        while (true)
        {
            Token token = Current;
            switch (token.Kind)
            {
                case TokenKind.Data:
                    body.Add(new DataStatement(token.Text, token.Offset));
                    _index++;
                    break;
                case TokenKind.VariableBegin:
                    _index++;
                    body.Add(new OutputStatement(ParseTuple(), token.Offset));
                    Expect(TokenKind.VariableEnd, "'}}'");
                    break;
                case TokenKind.BlockBegin:
                    _index++;
                    if (Current.Kind == TokenKind.Name && ends.Contains(Current.Text)) return body;
                    body.Add(ParseTag(ends));
                    Expect(TokenKind.BlockEnd, "'%}'");
                    break;
                default:
                    if (ends.IsEmpty) return body;
                    throw Error($"the template ends inside a block; expected {string.Join(" or ", ends.ToArray().Select(end => $"'{end}'"))}", opened);
            }
        }
    }

    private Statement ParseTag(ReadOnlySpan<string> ends)
    {
        Token tag = Current;
        if (tag.Kind != TokenKind.Name) throw Error($"expected the name of a tag, got '{tag.Describe()}'", tag.Offset);
        if (FileTags.Contains(tag.Text)) throw Error($"the tag '{tag.Text}' is not supported: a chat template is a single text", tag.Offset);
        if (!Tags.TryGetValue(tag.Text, out Func<JinjaParser, int, Statement>? parse))
        {
            string expected = ends.IsEmpty ? "" : $"; expected {string.Join(" or ", ends.ToArray().Select(end => $"'{end}'"))} or another tag";
            throw Error($"unknown tag '{tag.Text}'{expected}", tag.Offset);
        }
        _index++;
        return parse(this, tag.Offset);
    }

    /// <summary>Parses the rest of an opening tag, the body, and the name of the closing tag.</summary>
    private List<Statement> ParseBody(string end)
    {
        Expect(TokenKind.BlockEnd, "'%}'");
        List<Statement> body = ParseStatements([end]);
        _index++;
        return body;
    }

    private IfStatement ParseIf(int position)
    {
        List<(Expression, IReadOnlyList<Statement>)> branches = [];
        IReadOnlyList<Statement> otherwise = [];
        while (true)
        {
            Expression test = ParseTuple(withConditional: false);
            Expect(TokenKind.BlockEnd, "'%}'");
            _conditional++;
            branches.Add((test, ParseStatements(["elif", "else", "endif"])));
            _conditional--;
            string end = Current.Text;
            _index++;
            if (end == "elif") continue;
            if (end == "else")
            {
                _conditional++;
                otherwise = ParseBody("endif");
                _conditional--;
            }
            return new(branches, otherwise, position);
        }
    }

    private ForStatement ParseFor(int position)
    {
        Expression target = ParseTarget(allowNamespace: false, "in");
        ExpectWord("in");
        Expression source = ParseTuple(withConditional: false, "recursive");
        Expression? filter = SkipWord("if") ? ParseExpression() : null;
        bool isRecursive = SkipWord("recursive");
        Expect(TokenKind.BlockEnd, "'%}'");
        _loops++;
        List<Statement> body = ParseStatements(["endfor", "else"]);
        _loops--;
        IReadOnlyList<Statement> otherwise = [];
        string end = Current.Text;
        _index++;
        if (end == "else") otherwise = ParseBody("endfor");
        return new(target, source, filter, isRecursive, body, otherwise, position);
    }

    private Statement ParseSet(int position)
    {
        Expression target = ParseTarget(allowNamespace: true);
        if (SkipOperator("=")) return new SetStatement(target, ParseTuple(), position);
        FilterExpression? filter = Current.Is("|") ? (FilterExpression)ParseFilters(null) : null;
        return new SetBlockStatement(target, filter, ParseBody("endset"), position);
    }

    private MacroStatement ParseMacro(int position)
    {
        Token name = ExpectName("the name of the macro");
        return new(ParseDefinition(name.Text, "endmacro", requireParameters: true, () => { }), position);
    }

    private CallBlockStatement ParseCall(int position)
    {
        CallExpression? call = null;
        MacroDefinition definition = ParseDefinition("caller", "endcall", requireParameters: false, () =>
        {
            Token start = Current;
            call = ParseExpression() as CallExpression ?? throw Error("a call block needs a call, such as {% call name() %}", start.Offset);
        });
        return new(call!, definition, position);
    }

    private MacroDefinition ParseDefinition(string name, string end, bool requireParameters, Action afterParameters)
    {
        List<(string, Expression?)> parameters = [];
        if (requireParameters || Current.Is("("))
        {
            ExpectOperator("(");
            while (!Current.Is(")"))
            {
                if (parameters.Count > 0) ExpectOperator(",");
                if (Current.Is(")")) break;
                Token parameter = ExpectName("the name of a parameter");
                if (parameters.Exists(known => known.Item1 == parameter.Text)) throw Error($"the parameter '{parameter.Text}' appears twice", parameter.Offset);
                Expression? fallback = SkipOperator("=") ? ParseExpression() : null;
                if (fallback is null && parameters.Exists(known => known.Item2 is not null)) throw Error("non-default argument follows default argument", parameter.Offset);
                parameters.Add((parameter.Text, fallback));
            }
            ExpectOperator(")");
        }
        afterParameters();
        (HashSet<string> outerNames, int loops) = (_namesRead, _loops);
        _namesRead = new(StringComparer.Ordinal);
        _loops = 0;
        List<Statement> body = ParseBody(end);
        MacroDefinition definition = new(name, parameters, body, _namesRead.Contains("varargs"), _namesRead.Contains("kwargs"), _namesRead.Contains("caller"));
        outerNames.UnionWith(_namesRead);
        (_namesRead, _loops) = (outerNames, loops);
        return definition;
    }

    private FilterBlockStatement ParseFilterBlock(int position)
    {
        FilterExpression filter = (FilterExpression)ParseFilters(null, startInline: true);
        return new(filter, ParseBody("endfilter"), position);
    }

    private WithStatement ParseWith(int position)
    {
        List<(Expression, Expression)> assignments = [];
        while (Current.Kind != TokenKind.BlockEnd)
        {
            if (assignments.Count > 0) ExpectOperator(",");
            Expression target = ParseTarget(allowNamespace: false);
            ExpectOperator("=");
            assignments.Add((target, ParseExpression()));
        }
        return new(assignments, ParseBody("endwith"), position);
    }

    private JumpStatement ParseJump(Flow flow, int position)
    {
        if (_loops == 0) throw Error($"'{(flow == Flow.Break ? "break" : "continue")}' stands outside a loop", position);
        return new(flow, position);
    }

    private Expression ParseTarget(bool allowNamespace, string? end = null)
    {
        Token token = Current;
        if (allowNamespace && token.Kind == TokenKind.Name && Following.Is("."))
        {
            _index += 2;
            return new NamespaceTarget(token.Text, ExpectName("the name of an attribute").Text, token.Offset);
        }
        List<Expression> names = [];
        bool isTuple = false;
        while (true)
        {
            if (names.Count > 0 && (Current.Kind is TokenKind.BlockEnd || Current.Is("=") || (end is not null && Current.Is(end)))) break;
            names.Add(ParseTargetPart());
            if (!SkipOperator(",")) break;
            isTuple = true;
        }
        return isTuple ? new SequenceExpression(SequenceKind.Tuple, names.ToArray(), token.Offset) : names[0];
    }

    private Expression ParseTargetPart()
    {
        using Nesting nesting = Nest();
        Token token = Current;
        if (token.Is("(") || token.Is("["))
        {
            _index++;
            string close = token.Is("(") ? ")" : "]";
            Expression inner = ParseTarget(allowNamespace: false, close);
            ExpectOperator(close);
            return inner;
        }
        if (token.Kind == TokenKind.Name && token.Text is "true" or "false" or "none" or "True" or "False" or "None")
            throw Error($"can't assign to '{token.Text}'", token.Offset);
        return new NameExpression(ExpectName("a name to assign to").Text, token.Offset);
    }

    private Token Expect(TokenKind kind, string what)
    {
        Token token = Current;
        if (token.Kind != kind) throw Error($"expected {what}, got '{token.Describe()}'", token.Offset);
        _index++;
        return token;
    }

    private Token ExpectName(string what) => Expect(TokenKind.Name, what);

    private void ExpectOperator(string text)
    {
        if (!SkipOperator(text)) throw Error($"expected '{text}', got '{Current.Describe()}'", Current.Offset);
    }

    private void ExpectWord(string text)
    {
        if (!SkipWord(text)) throw Error($"expected '{text}', got '{Current.Describe()}'", Current.Offset);
    }

    private bool SkipOperator(string text) => Skip(TokenKind.Operator, text);

    private bool SkipWord(string text) => Skip(TokenKind.Name, text);

    private bool Skip(TokenKind kind, string text)
    {
        if (Current.Kind != kind || Current.Text != text) return false;
        _index++;
        return true;
    }

    private TemplateException Error(string reason, int offset) => _source.Error(TemplateErrorKind.Syntax, reason, offset);

    private Nesting Nest()
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (++_depth > TemplateLimits.Depth)
            throw _source.Error(TemplateErrorKind.Limit, $"statements and brackets nest deeper than the bound of {TemplateLimits.Depth}", Current.Offset);
        return new(this);
    }

    private readonly ref struct Nesting(JinjaParser parser)
    {
        public void Dispose() => parser._depth--;
    }
}
