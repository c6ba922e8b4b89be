#include "base/log.h"
#include "base/clock.h"

static enum log_level most = LOG_INFO;
static const char *role = "wherry";

void log_level_set(enum log_level level)
{
    most = level;
}

void log_role_set(const char *name)
{
    role = name;
}

/* One conversion of a format: %[flags][width][.precision][length]letter. */
struct log_spec {
    char flags[32]; /* and width and precision, as written */
    int precision;  /* -1: none */
    int longs;      /* h is -1, l is 1, ll, z, j and t are 2 */
    char letter;
};

static const char *spec_read(const char *p, struct log_spec *x, va_list *args)
{
    *x = (struct log_spec){.precision = -1};
    size_t n = 0;
    for (; *p && strchr("-+ #0123456789.*", *p); p++) {
        ASSERT(n < sizeof x->flags - 12); /* room for a number */
        if (*p == '.')
            x->precision = 0;
        int more = *p == '*' ? va_arg(*args, int) : 0;
        if (x->precision >= 0 && *p != '.')
            x->precision = *p == '*' ? more : 10 * x->precision + (*p - '0');
        if (*p == '*')
            n += (size_t)snprintf(x->flags + n, sizeof x->flags - n, "%d", more);
        else
            x->flags[n++] = *p;
    }
    for (; *p && strchr("hlzjt", *p); p++)
        x->longs += *p == 'h' ? -1 : *p == 'l' ? 1 : 2;
    x->letter = *p;
    return *p ? p + 1 : p;
}

static void number_add(struct strbuf *out, const struct log_spec *x, va_list *args)
{
    char fmt[40], text[512];
    (void)snprintf(fmt, sizeof fmt, "%%%s%s%c", x->flags, strchr("dixXou", x->letter) ? "ll" : "", x->letter);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* it is made of one that the compiler has checked */
    switch (x->letter) {
    case 'd':
    case 'i':
        (void)snprintf(text, sizeof text, fmt,
                       x->longs == 1  ? (long long)va_arg(*args, long)
                       : x->longs > 1 ? va_arg(*args, long long)
                                      : (long long)va_arg(*args, int));
        break;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        (void)snprintf(text, sizeof text, fmt,
                       x->longs == 1  ? (unsigned long long)va_arg(*args, unsigned long)
                       : x->longs > 1 ? va_arg(*args, unsigned long long)
                                      : (unsigned long long)va_arg(*args, unsigned));
        break;
    case 'c': (void)snprintf(text, sizeof text, fmt, va_arg(*args, int)); break;
    case 'p': (void)snprintf(text, sizeof text, fmt, va_arg(*args, void *)); break;
    default:
        ASSERT(strchr("fFeEgG", x->letter) && x->letter);
        (void)snprintf(text, sizeof text, fmt, va_arg(*args, double));
    }
#pragma GCC diagnostic pop
    strbuf_addz(out, text);
}

static void quoted_add(struct strbuf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i] == '\n' ? 'n' : s.p[i] == '\t' ? 't' : s.p[i];
        if (c != s.p[i] || c == '"' || c == '\\')
            strbuf_addc(out, '\\');
        strbuf_addc(out, c);
    }
}

static bool needs_quotes(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ' ' || s.p[i] == '"' || s.p[i] == '\n' || s.p[i] == '\t')
            return true;
    return false;
}

/* `whole`: it is all of a value without quotes. */
static void text_add(struct strbuf *out, const struct log_spec *x, const char *p, bool quoted, bool whole)
{
    size_t max = x->precision >= 0 ? (size_t)x->precision : SIZE_MAX;
    struct str s = {p ? p : "", p ? strnlen(p, MIN(max, (size_t)LOG_VALUE_MAX + 1)) : 0};
    bool cut = s.n > LOG_VALUE_MAX;
    s.n = MIN(s.n, (size_t)LOG_VALUE_MAX);
    bool quotes = whole && needs_quotes(s);
    if (quotes)
        strbuf_addc(out, '"');
    if (quoted || quotes)
        quoted_add(out, s);
    else
        strbuf_add(out, s);
    strbuf_addz(out, cut ? "..." : "");
    if (quotes)
        strbuf_addc(out, '"');
}

void log_text(struct strbuf *out, const char *fmt, va_list args)
{
    va_list rest;
    va_copy(rest, args);
    bool quoted = false;
    for (const char *p = fmt; *p;) {
        if (*p != '%' || p[1] == '%') {
            quoted ^= *p == '"';
            strbuf_addc(out, *p);
            p += *p == '%' ? 2 : 1;
            continue;
        }
        bool first = p > fmt && p[-1] == '=';
        struct log_spec x;
        p = spec_read(p + 1, &x, &rest);
        if (x.letter == 's')
            text_add(out, &x, va_arg(rest, const char *), quoted, first && !quoted && (!*p || *p == ' '));
        else
            number_add(out, &x, &rest);
    }
    va_end(rest);
}

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level > most)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(65536);
    time_add_micro(&b, clock_real());
    strbuf_addf(&b, " %s %s %s ", names[level], role, event);
    va_list args;
    AUTO(strbuf_fini) struct strbuf said = STRBUF(16384);
    va_start(args, fmt);
    log_text(&said, fmt, args);
    va_end(args);
    size_t from = b.n;
    strbuf_add_shown(&b, strbuf_str(&said));
    for (size_t i = from; i < b.n; i++) /* one event, one line, whatever the values hold */
        if (b.p[i] == '\n' || b.p[i] == '\t')
            b.p[i] = ' ';
    strbuf_addc(&b, '\n');
    if (b.p && write(STDERR_FILENO, b.p, b.n) < 0)
        return; /* nowhere left to say it */
}
