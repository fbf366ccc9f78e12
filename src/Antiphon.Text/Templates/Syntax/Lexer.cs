using System.Globalization;
using System.Numerics;
using System.Text;

namespace Antiphon.Text;

internal enum TokenKind
{
    Data,
    BlockBegin,
    BlockEnd,
    PrintBegin,
    PrintEnd,
    Name,
    String,
    Integer,
    Float,
    Operator,
    End,
}

/// <summary>A token; the text of a string token is what it stands for, of a number its digits without underscores.</summary>
internal readonly record struct Token(TokenKind Kind, string Text, int Line)
{
    public override string ToString() => Kind switch
    {
        TokenKind.BlockEnd => "end of statement block",
        TokenKind.PrintEnd => "end of print statement",
        TokenKind.End => "end of template",
        TokenKind.String => "string",
        _ => Text,
    };
}

/// <summary>
/// Cuts a source into tokens. White space is settled here: <c>trim_blocks</c> (a line end right after a block is dropped),
/// <c>lstrip_blocks</c> (so are blanks before a block that starts its line), and the signs <c>-</c> and <c>+</c> beside the braces.
/// </summary>
internal sealed class Lexer
{
    private static readonly string[] Operators =
    [
        "//", "**", "==", "!=", ">=", "<=",
        "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
    ];

    private readonly string _source;
    private readonly List<Token> _tokens = [];
    private readonly Stack<char> _open = [];
    private int _at;
    private int _line = 1;
    private int _lineCountedTo;

    private Lexer(string source) => _source = source;

    /// <exception cref="TemplateException">Of kind Syntax.</exception>
    public static List<Token> Tokenize(string source)
    {
        string text = source.Replace("\r\n", "\n", StringComparison.Ordinal).Replace('\r', '\n');
        var lexer = new Lexer(text.EndsWith('\n') ? text[..^1] : text);
        lexer.ReadAll();
        return lexer._tokens;
    }

    private void ReadAll()
    {
        bool atLineStart = true;
        while (_at < _source.Length)
        {
            int begin = FindBegin(_at);
            if (begin < 0)
            {
                Add(TokenKind.Data, _source[_at..]);
                _at = _source.Length;
                break;
            }

            char kind = _source[begin + 1];
            int next = begin + 2;
            char sign = next < _source.Length && _source[next] is '-' or '+' ? _source[next++] : ' ';
            AddData(_source[_at..begin], sign, kind != '{', atLineStart);
            _at = next;
            atLineStart = kind switch
            {
                '#' => SkipComment(),
                '{' => ReadTokens(TokenKind.PrintBegin),
                _ => SkipRawBegin() ? ReadRaw() : ReadTokens(TokenKind.BlockBegin),
            };
        }

        Add(TokenKind.End, "");
    }

    private int FindBegin(int from)
    {
        for (int at = from; (at = _source.IndexOf('{', at)) >= 0 && at + 1 < _source.Length; at++)
        {
            if (_source[at + 1] is '{' or '%' or '#')
            {
                return at;
            }
        }

        return -1;
    }

    private void AddData(string text, char sign, bool stripsBlanks, bool atLineStart)
    {
        if (sign == '-')
        {
            text = PythonCharacters.TrimEnd(text).ToString();
        }
        else if (sign != '+' && stripsBlanks)
        {
            int line = text.LastIndexOf('\n') + 1;
            if ((line > 0 || atLineStart) && PythonCharacters.TrimEnd(text.AsSpan(line)).Length == 0)
            {
                text = text[..line];
            }
        }

        if (text.Length > 0)
        {
            Add(TokenKind.Data, text);
        }
    }

    /// <summary>Goes past the end of a tag of two characters; tells whether a line end was dropped.</summary>
    private bool PassEnd(char sign, int end, bool dropsLineEnd)
    {
        _at = end;
        if (sign == '-')
        {
            while (_at < _source.Length && PythonCharacters.IsSpace(_source[_at]))
            {
                _at++;
            }

            return _at > end && _source[_at - 1] == '\n';
        }

        if (sign != '+' && dropsLineEnd && _at < _source.Length && _source[_at] == '\n')
        {
            _at++;
            return true;
        }

        return false;
    }

    private bool SkipComment()
    {
        int end = _source.IndexOf("#}", _at, StringComparison.Ordinal);
        if (end < 0)
        {
            throw Error("Missing end of comment tag");
        }

        char sign = end > _at && _source[end - 1] is '-' or '+' ? _source[end - 1] : ' ';
        return PassEnd(sign, end + 2, dropsLineEnd: true);
    }

    /// <summary>Where a tag's only word ends, or -1 when something else stands there.</summary>
    private int PassWord(int at, string word)
    {
        at = PassSpace(at);
        return string.CompareOrdinal(_source, at, word, 0, word.Length) == 0 ? PassSpace(at + word.Length) : -1;
    }

    private int PassSpace(int at)
    {
        while (at < _source.Length && PythonCharacters.IsSpace(_source[at]))
        {
            at++;
        }

        return at;
    }

    private bool Has(int at, string text) => string.CompareOrdinal(_source, at, text, 0, text.Length) == 0;

    private bool SkipRawBegin()
    {
        int at = PassWord(_at, "raw");
        if (at < 0)
        {
            return false;
        }

        if (Has(at, "-%}"))
        {
            PassEnd('-', at + 3, dropsLineEnd: false);
            return true;
        }

        if (Has(at, "%}"))
        {
            _at = at + 2;
            return true;
        }

        return false;
    }

    private bool ReadRaw()
    {
        for (int begin = _at; (begin = _source.IndexOf("{%", begin, StringComparison.Ordinal)) >= 0; begin += 2)
        {
            int next = begin + 2;
            char sign = next < _source.Length && _source[next] is '-' or '+' ? _source[next++] : ' ';
            int at = PassWord(next, "endraw");
            if (at < 0)
            {
                continue;
            }

            char endSign = at < _source.Length && _source[at] is '-' or '+' ? _source[at++] : ' ';
            if (Has(at, "%}"))
            {
                AddData(_source[_at..begin], sign, stripsBlanks: true, atLineStart: false);
                return PassEnd(endSign, at + 2, dropsLineEnd: true);
            }
        }

        throw Error("Missing end of raw directive");
    }

    private bool ReadTokens(TokenKind begin)
    {
        Add(begin, "");
        bool block = begin == TokenKind.BlockBegin;
        string close = block ? "%}" : "}}";
        while (true)
        {
            if (_at >= _source.Length)
            {
                throw Error("unexpected end of template inside a tag");
            }

            char c = _source[_at];
            if (_open.Count == 0)
            {
                char sign = c == '-' || (c == '+' && block) ? c : ' ';
                int at = sign == ' ' ? _at : _at + 1;
                if (Has(at, close))
                {
                    Add(block ? TokenKind.BlockEnd : TokenKind.PrintEnd, "");
                    return PassEnd(sign, at + 2, dropsLineEnd: block);
                }
            }

            if (PythonCharacters.IsSpace(c))
            {
                _at++;
            }
            else if (char.IsAsciiDigit(c))
            {
                ReadNumber();
            }
            else if (PythonCharacters.IsNameStart(_source, _at))
            {
                ReadName();
            }
            else if (c is '\'' or '"')
            {
                ReadString(c);
            }
            else
            {
                ReadOperator();
            }
        }
    }

    private void ReadName()
    {
        int start = _at;
        do
        {
            _at += char.IsSurrogatePair(_source, _at) ? 2 : 1;
        }
        while (_at < _source.Length && PythonCharacters.IsNamePart(_source, _at));

        Add(TokenKind.Name, _source[start.._at]);
    }

    private void ReadOperator()
    {
        foreach (string op in Operators)
        {
            if (!Has(_at, op))
            {
                continue;
            }

            char c = op[0];
            switch (c)
            {
                case '(' or '[' or '{':
                    _open.Push(c == '(' ? ')' : c == '[' ? ']' : '}');
                    break;
                case ')' or ']' or '}':
                    if (_open.Count == 0)
                    {
                        throw Error($"unexpected '{c}'");
                    }

                    char expected = _open.Pop();
                    if (expected != c)
                    {
                        throw Error($"unexpected '{c}', expected '{expected}'");
                    }

                    break;
            }

            Add(TokenKind.Operator, op);
            _at += op.Length;
            return;
        }

        throw Error($"unexpected char '{_source[_at]}' at {_at}");
    }

    private void ReadNumber()
    {
        int start = _at;
        int digitsEnd = PassDigits(start);
        bool mayBeFloat = start == 0 || _source[start - 1] != '.';
        int end = digitsEnd;
        if (mayBeFloat && end + 1 < _source.Length && _source[end] == '.' && char.IsAsciiDigit(_source[end + 1]))
        {
            end = PassDigits(end + 1);
        }

        if (mayBeFloat && end < _source.Length && _source[end] is 'e' or 'E')
        {
            int exponent = end + 1;
            if (exponent < _source.Length && _source[exponent] is '+' or '-')
            {
                exponent++;
            }

            if (exponent < _source.Length && char.IsAsciiDigit(_source[exponent]))
            {
                end = PassDigits(exponent);
            }
        }

        if (end > digitsEnd)
        {
            Add(TokenKind.Float, _source[start..end].Replace("_", "", StringComparison.Ordinal));
            _at = end;
            return;
        }

        ReadInteger(start, digitsEnd);
    }

    private void ReadInteger(int start, int digitsEnd)
    {
        int end = digitsEnd;
        int numberBase = 10;
        if (_source[start] == '0')
        {
            numberBase = start + 1 < _source.Length ? (_source[start + 1] | 0x20) switch { 'x' => 16, 'o' => 8, 'b' => 2, _ => 10 } : 10;
            end = numberBase == 10 ? start + 1 : start + 2;
            while (end < _source.Length && (_source[end] == '_'
                ? end + 1 < _source.Length && IsDigit(_source[end + 1])
                : IsDigit(_source[end])))
            {
                end++;
            }

            if (numberBase != 10 && end == start + 2)
            {
                (numberBase, end) = (10, start + 1);
            }

            // A number of base ten that starts with 0 holds nothing but zeros.
            bool IsDigit(char c) => numberBase switch
            {
                16 => char.IsAsciiHexDigit(c),
                8 => c is >= '0' and <= '7',
                2 => c is '0' or '1',
                _ => c == '0',
            };
        }

        BigInteger value = Numbers.ParseInteger(_source[start..end], numberBase)
            ?? throw Error($"an integer has more than {JsonReading.MaxIntegerDigits} digits");
        Add(TokenKind.Integer, value.ToString(CultureInfo.InvariantCulture));
        _at = end;
    }

    /// <summary>Past digits that single underscores may part.</summary>
    private int PassDigits(int at)
    {
        while (at < _source.Length && (char.IsAsciiDigit(_source[at])
            || (_source[at] == '_' && at + 1 < _source.Length && char.IsAsciiDigit(_source[at + 1]))))
        {
            at++;
        }

        return at;
    }

    private void ReadString(char quote)
    {
        int start = _at;
        int end = start + 1;
        while (end < _source.Length && _source[end] != quote)
        {
            end += _source[end] == '\\' ? 2 : 1;
        }

        if (end >= _source.Length)
        {
            throw Error($"unexpected char '{quote}' at {start}");
        }

        ReadOnlySpan<char> body = _source.AsSpan(start + 1, end - start - 1);
        Add(TokenKind.String, body.Contains('\\') ? Unescape(body) : body.ToString());
        _at = end + 1;
    }

    private string Unescape(ReadOnlySpan<char> body)
    {
        var text = new StringBuilder(body.Length);
        for (int i = 0; i < body.Length; i++)
        {
            if (body[i] != '\\')
            {
                text.Append(body[i]);
                continue;
            }

            char c = body[++i];
            switch (c)
            {
                case '\n':
                    break;
                case '\\' or '\'' or '"':
                    text.Append(c);
                    break;
                case 'a':
                    text.Append('\a');
                    break;
                case 'b':
                    text.Append('\b');
                    break;
                case 'f':
                    text.Append('\f');
                    break;
                case 'n':
                    text.Append('\n');
                    break;
                case 'r':
                    text.Append('\r');
                    break;
                case 't':
                    text.Append('\t');
                    break;
                case 'v':
                    text.Append('\v');
                    break;
                case >= '0' and <= '7':
                    int octal = c - '0';
                    for (int n = 1; n < 3 && i + 1 < body.Length && body[i + 1] is >= '0' and <= '7'; n++)
                    {
                        octal = (octal * 8) + (body[++i] - '0');
                    }

                    text.Append((char)octal);
                    break;
                case 'x' or 'u' or 'U':
                    int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
                    if (i + digits >= body.Length
                        || !uint.TryParse(body.Slice(i + 1, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint code)
                        || code > 0x10ffff)
                    {
                        throw Error($"a string holds an incomplete \\{c} escape");
                    }

                    text.Append(code < 0x10000 ? ((char)code).ToString() : char.ConvertFromUtf32((int)code));
                    i += digits;
                    break;
                case 'N':
                    throw Error("character names (\\N{…}) are not supported in strings");
                default:
                    text.Append('\\').Append(c);
                    break;
            }
        }

        return text.ToString();
    }

    private void Add(TokenKind kind, string text)
    {
        int to = Math.Min(_at, _source.Length);
        _line += _source.AsSpan(_lineCountedTo, to - _lineCountedTo).Count('\n');
        _lineCountedTo = to;
        _tokens.Add(new(kind, text, _line));
    }

    private TemplateException Error(string message)
    {
        Add(TokenKind.End, "");
        return new(TemplateErrorKind.Syntax, message) { Line = _line };
    }
}
