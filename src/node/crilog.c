#include "node/crilog.h"
#include "base/clock.h"

bool crilog_parse(struct str line, struct crilog_line *out)
{
    struct str stream, tag, rest;
    if (!str_split(line, ' ', &out->time, &rest) || !str_split(rest, ' ', &stream, &rest))
        return false;
    (void)str_split(rest, ' ', &tag, &out->text);
    if (!out->text.p)
        out->text = S("");
    out->err = str_eq(stream, S("stderr"));
    out->full = tag.n && tag.p[0] == 'F';
    return out->time.n && (out->err || str_eq(stream, S("stdout"))) && tag.n && (out->full || tag.p[0] == 'P');
}

void crilog_show(const struct crilog_line *l, const struct crilog_filter *f, bool at_line_start, struct strbuf *out)
{
    int64_t when;
    if ((f->only_out && l->err) || (f->only_err && !l->err))
        return;
    if (f->since && (!time_parse(l->time, &when) || when < f->since))
        return;
    if (f->timestamps && at_line_start)
        strbuf_addf(out, STR_FMT " ", STR_ARG(l->time));
    strbuf_add(out, l->text);
    if (l->full)
        strbuf_addc(out, '\n');
}
