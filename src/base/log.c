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
    va_start(args, fmt);
    size_t from = b.n;
    strbuf_addvf(&b, fmt, args);
    va_end(args);
    for (size_t i = from; i < b.n; i++) /* one event, one line, whatever the values hold */
        if ((unsigned char)b.p[i] < ' ')
            b.p[i] = ' ';
    strbuf_addc(&b, '\n');
    if (b.p && write(STDERR_FILENO, b.p, b.n) < 0)
        return; /* nowhere left to say it */
}
