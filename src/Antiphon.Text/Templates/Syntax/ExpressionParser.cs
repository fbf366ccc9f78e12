using System.Globalization;
using System.Numerics;

namespace Antiphon.Text;

internal sealed partial class Parser
{
    private Expression ParseExpression(bool withCondition = true)
    {
        Enter();
        Expression result = withCondition ? ParseConditional() : ParseOr();
        _nesting--;
        return result;
    }

    private Expression ParseConditional()
    {
        int unknown = _unknown.Count;
        Expression value = ParseOr();
        if (!SkipName("if"))
        {
            return value;
        }

        // A filter that does not exist may stand anywhere in a conditional, also before its "if".
        _unknown.RemoveRange(unknown, _unknown.Count - unknown);
        _inCondition++;
        Expression condition = ParseOr();
        Expression? otherwise = SkipName("else") ? ParseExpression() : null;
        _inCondition--;
        return Grow(new ConditionalExpression(condition, value, otherwise), value, condition, otherwise);
    }

    private Expression ParseOr() => ParseLogic("or", isOr: true);

    private Expression ParseLogic(string word, bool isOr)
    {
        Expression first = isOr ? ParseLogic("and", isOr: false) : ParseNot();
        if (!IsName(word))
        {
            return first;
        }

        var operands = new List<Expression> { first };
        while (SkipName(word))
        {
            operands.Add(isOr ? ParseLogic("and", isOr: false) : ParseNot());
        }

        return Grow(new LogicExpression([.. operands], isOr), [.. operands]);
    }

    private Expression ParseNot()
    {
        if (!SkipName("not"))
        {
            return ParseCompare();
        }

        Enter();
        Expression operand = ParseNot();
        _nesting--;
        return Grow(new NotExpression(operand), operand);
    }

    private Expression ParseCompare()
    {
        Expression first = ParseSum();
        var rest = new List<KeyValuePair<string, Expression>>();
        while (true)
        {
            string op;
            if (Current.Kind == TokenKind.Operator && Current.Text is "==" or "!=" or "<" or "<=" or ">" or ">=")
            {
                op = Current.Text;
                _at++;
            }
            else if (SkipName("in"))
            {
                op = "in";
            }
            else if (IsName("not") && Following is { Kind: TokenKind.Name, Text: "in" })
            {
                op = "not in";
                _at += 2;
            }
            else
            {
                break;
            }

            rest.Add(new(op, ParseSum()));
        }

        return rest.Count == 0 ? first : Grow(new CompareExpression(first, [.. rest]), [first, .. rest.Select(r => r.Value)]);
    }

    private Expression ParseSum() => ParseChain(ParseJoin, static op => op is "+" or "-");

    private Expression ParseProduct() => ParseChain(ParsePower, static op => op is "*" or "/" or "//" or "%");

    private Expression ParsePower() => ParseChain(() => ParseUnary(), static op => op is "**");

    private Expression ParseChain(Func<Expression> next, Func<string, bool> belongs)
    {
        Expression first = next();
        if (Current.Kind != TokenKind.Operator || !belongs(Current.Text))
        {
            return first;
        }

        var rest = new List<KeyValuePair<string, Expression>>();
        while (Current.Kind == TokenKind.Operator && belongs(Current.Text))
        {
            string op = Current.Text;
            _at++;
            rest.Add(new(op, next()));
        }

        return Grow(new ChainExpression(first, [.. rest]), [first, .. rest.Select(r => r.Value)]);
    }

    private Expression ParseJoin()
    {
        Expression first = ParseProduct();
        if (!IsOperator("~"))
        {
            return first;
        }

        var operands = new List<Expression> { first };
        while (SkipOperator("~"))
        {
            operands.Add(ParseProduct());
        }

        return Grow(new JoinExpression([.. operands]), [.. operands]);
    }

    /// <summary>A sign binds what follows it before a filter does: <c>-5|abs</c> is 5.</summary>
    private Expression ParseUnary(bool withFilters = true)
    {
        Expression value;
        if (IsOperator("-") || IsOperator("+"))
        {
            bool negative = Current.Text == "-";
            _at++;
            Enter();
            Expression operand = ParseUnary(withFilters: false);
            _nesting--;
            value = Grow(new SignExpression(operand, negative), operand);
        }
        else
        {
            value = ParsePrimary();
        }

        value = ParsePostfix(value);
        return withFilters ? ParseFiltersAndTests(value) : value;
    }

    private Expression ParsePrimary()
    {
        Token token = Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                _at++;
                return token.Text switch
                {
                    "true" or "True" => new ConstantExpression(BooleanValue.True),
                    "false" or "False" => new ConstantExpression(BooleanValue.False),
                    "none" or "None" => new ConstantExpression(NoneValue.Instance),
                    _ => NewName(token.Text),
                };
            case TokenKind.String:
                var text = new System.Text.StringBuilder();
                for (; Current.Kind == TokenKind.String; _at++)
                {
                    text.Append(Current.Text);
                }

                return new ConstantExpression(StringValue.Of(text.ToString()));
            case TokenKind.Integer:
                _at++;
                return new ConstantExpression(IntegerValue.Of(BigInteger.Parse(token.Text, CultureInfo.InvariantCulture)));
            case TokenKind.Float:
                _at++;
                return new ConstantExpression(new FloatValue(double.Parse(token.Text, CultureInfo.InvariantCulture)));
            case TokenKind.Operator when token.Text == "(":
                _at++;
                Expression inner = ParseTuple(isBracketed: true);
                ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                _at++;
                return ParseList();
            case TokenKind.Operator when token.Text == "{":
                _at++;
                return ParseDict();
            default:
                throw Error($"unexpected '{token}'");
        }
    }

    /// <summary>One expression, or a tuple of those that commas part.</summary>
    private Expression ParseTuple(bool withCondition = true, string? end = null, bool isBracketed = false)
    {
        var items = new List<Expression>();
        bool isTuple = false;
        while (true)
        {
            if (items.Count > 0)
            {
                if (!SkipOperator(","))
                {
                    break;
                }

                isTuple = true;
            }

            if (Current.Kind is TokenKind.PrintEnd or TokenKind.BlockEnd || IsOperator(")") || (end is not null && IsName(end)))
            {
                break;
            }

            items.Add(ParseExpression(withCondition));
        }

        if (!isTuple)
        {
            if (items.Count == 1)
            {
                return items[0];
            }

            if (!isBracketed)
            {
                throw Error($"Expected an expression, got '{Current}'");
            }
        }

        return Grow(new ListExpression([.. items], isTuple: true), [.. items]);
    }

    private Expression ParseList()
    {
        var items = new List<Expression>();
        while (!IsOperator("]"))
        {
            if (items.Count > 0)
            {
                ExpectOperator(",");
                if (IsOperator("]"))
                {
                    break;
                }
            }

            items.Add(ParseExpression());
        }

        _at++;
        return Grow(new ListExpression([.. items], isTuple: false), [.. items]);
    }

    private Expression ParseDict()
    {
        var entries = new List<KeyValuePair<Expression, Expression>>();
        while (!IsOperator("}"))
        {
            if (entries.Count > 0)
            {
                ExpectOperator(",");
                if (IsOperator("}"))
                {
                    break;
                }
            }

            Expression key = ParseExpression();
            ExpectOperator(":");
            entries.Add(new(key, ParseExpression()));
        }

        _at++;
        return Grow(new DictExpression([.. entries]), [.. entries.Select(e => e.Key), .. entries.Select(e => e.Value)]);
    }

    private Expression ParsePostfix(Expression value)
    {
        while (Current.Kind == TokenKind.Operator)
        {
            switch (Current.Text)
            {
                case ".":
                    _at++;
                    Token token = Current;
                    _at++;
                    value = token.Kind switch
                    {
                        TokenKind.Name => Grow(new AttributeExpression(value, token.Text), value),
                        TokenKind.Integer => Grow(
                            new ItemExpression(value, new ConstantExpression(IntegerValue.Of(BigInteger.Parse(token.Text, CultureInfo.InvariantCulture)))), value),
                        _ => throw Error("expected name or number"),
                    };
                    break;
                case "[":
                    _at++;
                    value = ParseSubscript(value);
                    break;
                case "(":
                    value = ParseCall(value);
                    break;
                default:
                    return value;
            }
        }

        return value;
    }

    private Expression ParseSubscript(Expression target)
    {
        Expression? start = null;
        if (!IsOperator(":"))
        {
            start = ParseExpression();
            if (IsOperator(","))
            {
                var items = new List<Expression> { start };
                while (SkipOperator(","))
                {
                    items.Add(ParseExpression());
                }

                start = Grow(new ListExpression([.. items], isTuple: true), [.. items]);
            }

            if (SkipOperator("]"))
            {
                return Grow(new ItemExpression(target, start), target, start);
            }
        }

        ExpectOperator(":");
        Expression? stop = IsOperator(":") || IsOperator("]") ? null : ParseExpression();
        Expression? step = SkipOperator(":") && !IsOperator("]") ? ParseExpression() : null;
        ExpectOperator("]");
        return Grow(new SliceExpression(target, start, stop, step), target, start, stop, step);
    }

    private Expression ParseCall(Expression callee)
    {
        ArgumentList arguments = ParseArguments();
        return Grow(new CallExpression(callee, arguments), Math.Max(callee.Height, arguments.Height));
    }

    private ArgumentList ParseArguments()
    {
        ExpectOperator("(");
        var positional = new List<Expression>();
        var named = new List<KeyValuePair<string, Expression>>();
        Expression? spread = null;
        Expression? namedSpread = null;
        bool isFirst = true;
        while (!IsOperator(")"))
        {
            if (!isFirst)
            {
                ExpectOperator(",");
                if (IsOperator(")"))
                {
                    break;
                }
            }

            isFirst = false;
            if (namedSpread is null && SkipOperator("**"))
            {
                namedSpread = ParseExpression();
            }
            else if (spread is null && namedSpread is null && SkipOperator("*"))
            {
                spread = ParseExpression();
            }
            else if (namedSpread is null && Current.Kind == TokenKind.Name && Following is { Kind: TokenKind.Operator, Text: "=" })
            {
                string name = Current.Text;
                _at += 2;
                if (named.Count >= 64 || named.Exists(n => n.Key == name))
                {
                    throw Error($"keyword argument repeated: '{name}', or more than 64 of them");
                }

                named.Add(new(name, ParseExpression()));
            }
            else if (named.Count == 0 && spread is null && namedSpread is null)
            {
                positional.Add(ParseExpression());
            }
            else
            {
                throw Error("invalid syntax for function call expression");
            }
        }

        _at++;
        return positional.Count + named.Count == 0 && spread is null && namedSpread is null
            ? ArgumentList.Empty
            : new([.. positional], [.. named], spread, namedSpread);
    }

    private Expression ParseFiltersAndTests(Expression value)
    {
        while (true)
        {
            if (IsOperator("|"))
            {
                value = ParseFilters(value, startsWithBar: true);
            }
            else if (IsName("is"))
            {
                value = ParseTest(value);
            }
            else if (IsOperator("("))
            {
                value = ParseCall(value);
            }
            else
            {
                return value;
            }
        }
    }

    private Expression ParseFilters(Expression value, bool startsWithBar)
    {
        while (!startsWithBar || SkipOperator("|"))
        {
            startsWithBar = true;
            string name = ParseDottedName();
            Filter? filter = Filters.Find(name);
            if (filter is null && _inCondition == 0)
            {
                _unknown.Add((Current.Line, $"No filter named '{name}'."));
            }

            ArgumentList arguments = IsOperator("(") ? ParseArguments() : ArgumentList.Empty;
            value = Grow(new FilterExpression(value, name, filter, arguments), Math.Max(value.Height, arguments.Height));
        }

        return value;
    }

    private Expression ParseTest(Expression value)
    {
        _at++;
        bool negated = SkipName("not");
        string name = ParseDottedName();
        Test? test = ValueTests.Find(name);
        if (test is null && _inCondition == 0)
        {
            _unknown.Add((Current.Line, $"No test named '{name}'."));
        }

        ArgumentList arguments = ArgumentList.Empty;
        if (IsOperator("("))
        {
            arguments = ParseArguments();
        }
        else if ((Current.Kind is TokenKind.Name or TokenKind.String or TokenKind.Integer or TokenKind.Float || IsOperator("[") || IsOperator("{"))
            && !IsName("else") && !IsName("or") && !IsName("and"))
        {
            if (IsName("is"))
            {
                throw Error("You cannot chain multiple tests with is");
            }

            // An argument without brackets: one value, without operators.
            Enter();
            Expression argument = ParsePostfix(ParsePrimary());
            _nesting--;
            arguments = new([argument], [], null, null);
        }

        Expression result = Grow(new TestExpression(value, name, test, arguments), Math.Max(value.Height, arguments.Height));
        return negated ? Grow(new NotExpression(result), result) : result;
    }

    private string ParseDottedName()
    {
        string name = ExpectName();
        while (SkipOperator("."))
        {
            name += "." + ExpectName();
        }

        return name;
    }

    private Expression Grow(Expression node, params ReadOnlySpan<Expression?> parts)
    {
        int height = 0;
        foreach (Expression? part in parts)
        {
            height = Math.Max(height, part?.Height ?? 0);
        }

        return Grow(node, height);
    }

    private Expression Grow(Expression node, int height)
    {
        node.Height = height + 1;
        node.Line = Current.Line;
        return node.Height <= _maxNesting ? node : throw TooDeep();
    }
}
