#include "cel/expr.h"
#include <string.h>

static const char *const labels[T_COUNT] = {
    [T_EOF] = "<EOF>",     [T_EQ] = "'=='",         [T_NE] = "'!='",          [T_IN] = "'in'",
    [T_LT] = "'<'",        [T_LE] = "'<='",         [T_GE] = "'>='",          [T_GT] = "'>'",
    [T_AND] = "'&&'",      [T_OR] = "'||'",         [T_LBRACKET] = "'['",     [T_RBRACKET] = "']'",
    [T_LBRACE] = "'{'",    [T_RBRACE] = "'}'",      [T_LPAREN] = "'('",       [T_RPAREN] = "')'",
    [T_DOT] = "'.'",       [T_COMMA] = "','",       [T_MINUS] = "'-'",        [T_NOT] = "'!'",
    [T_QUESTION] = "'?'",  [T_COLON] = "':'",       [T_PLUS] = "'+'",         [T_STAR] = "'*'",
    [T_SLASH] = "'/'",     [T_PERCENT] = "'%'",     [T_TRUE] = "'true'",      [T_FALSE] = "'false'",
    [T_NULL] = "'null'",   [T_FLOAT] = "NUM_FLOAT", [T_INT] = "NUM_INT",      [T_UINT] = "NUM_UINT",
    [T_STRING] = "STRING", [T_BYTES] = "BYTES",     [T_IDENT] = "IDENTIFIER", [T_ESCAPED] = "ESC_IDENTIFIER",
};

const char *token_label(unsigned type)
{
    return labels[type];
}

static bool is_letter(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(int c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A try to read one token: how far it went, and how far it was sure of. */
struct lex_try {
    const char *p, *end;
    const char *accepted; /* NULL: nothing yet */
    uint8_t type;
};

static int peek_at(const struct lex_try *t, size_t i)
{
    return (size_t)(t->end - t->p) > i ? (unsigned char)t->p[i] : -1;
}

static void accept_here(struct lex_try *t, enum cel_token type)
{
    t->accepted = t->p;
    t->type = (uint8_t)type;
}

/* After a backslash: whether what follows is an escape; t->p stands where it went wrong otherwise. */
static bool take_escape(struct lex_try *t)
{
    int c = peek_at(t, 0), digits = 0;
    if (c >= 0 && strchr("abfnrtv\"'\\?`", c)) {
        t->p++;
        return true;
    }
    if (c >= '0' && c <= '3') {
        t->p++;
        for (; digits < 2; digits++, t->p++)
            if (peek_at(t, 0) < '0' || peek_at(t, 0) > '7')
                return false;
        return true;
    }
    int want = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (!want)
        return false;
    t->p++;
    for (; digits < want; digits++, t->p++)
        if (!is_hex(peek_at(t, 0)))
            return false;
    return true;
}

/* From the opening quote on; accepts where it is closed. */
static void take_string(struct lex_try *t, enum cel_token type, bool raw)
{
    int quote = peek_at(t, 0);
    bool triple = peek_at(t, 1) == quote && peek_at(t, 2) == quote;
    if (triple) {
        const char *start = t->p;
        t->p += 2;
        accept_here(t, type); /* "" is a text, too, should the long one not end */
        t->p++;
        for (; t->p < t->end; t->p++) {
            if (peek_at(t, 0) == quote && peek_at(t, 1) == quote && peek_at(t, 2) == quote) {
                t->p += 3;
                accept_here(t, type);
                return;
            }
            if (!raw && *t->p == '\\') {
                t->p++;
                if (!take_escape(t))
                    return;
                t->p--;
            }
        }
        (void)start;
        return;
    }
    t->p++;
    while (t->p < t->end && *t->p != quote && *t->p != '\n' && *t->p != '\r') {
        if (!raw && *t->p == '\\') {
            t->p++;
            if (!take_escape(t))
                return;
        } else {
            t->p++;
        }
    }
    if (peek_at(t, 0) != quote)
        return;
    t->p++;
    accept_here(t, type);
}

static void take_exponent(struct lex_try *t)
{
    if (peek_at(t, 0) != 'e' && peek_at(t, 0) != 'E')
        return;
    size_t sign = peek_at(t, 1) == '+' || peek_at(t, 1) == '-';
    if (!is_digit(peek_at(t, 1 + sign)))
        return;
    t->p += 1 + sign;
    while (is_digit(peek_at(t, 0)))
        t->p++;
    accept_here(t, T_FLOAT);
}

static void take_number(struct lex_try *t)
{
    if (peek_at(t, 0) == '0' && peek_at(t, 1) == 'x' && is_hex(peek_at(t, 2))) {
        t->p += 2;
        while (is_hex(peek_at(t, 0)))
            t->p++;
        accept_here(t, T_INT);
    } else {
        while (is_digit(peek_at(t, 0)))
            t->p++;
        accept_here(t, T_INT);
        if (peek_at(t, 0) == '.' && is_digit(peek_at(t, 1))) {
            t->p++;
            while (is_digit(peek_at(t, 0)))
                t->p++;
            accept_here(t, T_FLOAT);
        }
        take_exponent(t);
    }
    if (t->type == T_INT && (peek_at(t, 0) == 'u' || peek_at(t, 0) == 'U')) {
        t->p++;
        accept_here(t, T_UINT);
    }
}

static void take_word(struct lex_try *t)
{
    const char *start = t->p;
    while (is_letter(peek_at(t, 0)) || is_digit(peek_at(t, 0)))
        t->p++;
    accept_here(t, T_IDENT);
    struct str word = {start, (size_t)(t->p - start)};
    if (str_eqz(word, "in"))
        t->type = T_IN;
    else if (str_eqz(word, "true"))
        t->type = T_TRUE;
    else if (str_eqz(word, "false"))
        t->type = T_FALSE;
    else if (str_eqz(word, "null"))
        t->type = T_NULL;
}

/* r"", b"", rb is none: bytes come first. True: it is the beginning of a literal. */
static bool take_prefixed(struct lex_try *t)
{
    size_t i = 0;
    bool bytes = peek_at(t, 0) == 'b' || peek_at(t, 0) == 'B';
    i += bytes;
    bool raw = peek_at(t, i) == 'r' || peek_at(t, i) == 'R';
    i += raw;
    if (peek_at(t, i) != '"' && peek_at(t, i) != '\'')
        return false;
    struct lex_try word = *t;
    if (i)
        take_word(&word);
    t->p += i;
    take_string(t, bytes ? T_BYTES : T_STRING, raw);
    if (!t->accepted && i) { /* the letters by themselves are a word */
        t->accepted = word.accepted;
        t->type = word.type;
    }
    return true;
}

static void take_escaped(struct lex_try *t)
{
    for (t->p++;
         is_letter(peek_at(t, 0)) || is_digit(peek_at(t, 0)) || (peek_at(t, 0) > 0 && strchr(".-/ ", peek_at(t, 0)));)
        t->p++;
    if (peek_at(t, 0) != '`' || t->p[-1] == '`')
        return;
    t->p++;
    accept_here(t, T_ESCAPED);
}

static void take_punctuation(struct lex_try *t)
{
    static const struct {
        char c, second;      /* second: 0 is none */
        uint8_t alone, both; /* T_EOF: no token */
    } marks[] = {
        {'=', '=', T_EOF, T_EQ},  {'!', '=', T_NOT, T_NE}, {'<', '=', T_LT, T_LE},  {'>', '=', T_GT, T_GE},
        {'&', '&', T_EOF, T_AND}, {'|', '|', T_EOF, T_OR}, {'[', 0, T_LBRACKET, 0}, {']', 0, T_RBRACKET, 0},
        {'{', 0, T_LBRACE, 0},    {'}', 0, T_RBRACE, 0},   {'(', 0, T_LPAREN, 0},   {')', 0, T_RPAREN, 0},
        {'.', 0, T_DOT, 0},       {',', 0, T_COMMA, 0},    {'-', 0, T_MINUS, 0},    {'?', 0, T_QUESTION, 0},
        {':', 0, T_COLON, 0},     {'+', 0, T_PLUS, 0},     {'*', 0, T_STAR, 0},     {'/', 0, T_SLASH, 0},
        {'%', 0, T_PERCENT, 0},
    };
    for (size_t i = 0; i < countof(marks); i++) {
        if (*t->p != marks[i].c)
            continue;
        t->p++;
        if (marks[i].alone)
            accept_here(t, marks[i].alone);
        if (marks[i].second && peek_at(t, 0) == marks[i].second) {
            t->p++;
            accept_here(t, marks[i].both);
        }
        return;
    }
}

static void take_token(struct lex_try *t)
{
    int c = peek_at(t, 0);
    if (is_digit(c)) {
        take_number(t);
    } else if (c == '.' && is_digit(peek_at(t, 1))) {
        for (t->p++; is_digit(peek_at(t, 0));)
            t->p++;
        accept_here(t, T_FLOAT);
        take_exponent(t);
    } else if (c == '"' || c == '\'') {
        take_string(t, T_STRING, false);
    } else if (is_letter(c)) {
        if (!take_prefixed(t))
            take_word(t);
    } else if (c == '`') {
        take_escaped(t);
    } else {
        take_punctuation(t);
    }
}

static const char *next_character(const char *p, const char *end)
{
    for (p++; p < end && ((unsigned char)*p & 0xC0) == 0x80;)
        p++;
    return p;
}

static size_t space_length(const char *p, const char *end)
{
    const char *from = p;
    while (p < end) {
        if (strchr(" \t\r\n\f", *p) && *p) {
            p++;
        } else if (*p == '/' && p + 1 < end && p[1] == '/') {
            while (p < end && *p != '\n')
                p++;
        } else {
            break;
        }
    }
    return (size_t)(p - from);
}

struct token_list cel_lex(struct arena *a, struct str source, struct cel_issues *issues)
{
    ARRAY(struct token) tokens = {0};
    const char *p = source.p, *end = source.p + source.n;
    uint32_t at = 0;
    while (p < end) {
        size_t space = space_length(p, end);
        at += (uint32_t)cel_code_points((struct str){p, space});
        p += space;
        if (p == end)
            break;
        struct lex_try t = {.p = p, .end = end};
        take_token(&t);
        const char *next = t.accepted;
        if (next) {
            array_push(&tokens, ((struct token){t.type, at, {p, (size_t)(next - p)}}));
        } else {
            next = t.p < end ? next_character(t.p, end) : end;
            cel_issue_add(issues, at, "Syntax error: token recognition error at: '%.*s'", (int)(next - p), p);
        }
        at += (uint32_t)cel_code_points((struct str){p, (size_t)(next - p)});
        p = next;
    }
    array_push(&tokens, ((struct token){T_EOF, at, S("<EOF>")}));
    struct token_list list = {arena_dup(a, tokens.p, tokens.n * sizeof *tokens.p), tokens.n};
    array_fini(&tokens);
    return list;
}
