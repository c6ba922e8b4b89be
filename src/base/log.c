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

void log_line(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (level > most)
        return;
    AUTO(strbuf_fini) struct strbuf b = STRBUF(8192);
    time_add_micro(&b, clock_real());
    strbuf_addf(&b, " %s %s %s ", names[level], role, event);
    va_list args;
    AUTO(strbuf_fini) struct strbuf said = STRBUF(4096);
    va_start(args, fmt);
    strbuf_addvf(&said, fmt, args);
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
