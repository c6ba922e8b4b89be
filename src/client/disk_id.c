#include "client/disk_id.h"

static struct str iscsi_handle(struct arena *a, const struct val *v)
{
    return arena_fmt(a, STR_FMT ":" STR_FMT ":%lld", STR_ARG(val_text_at(v, N(targetPortal))),
                     STR_ARG(val_text_at(v, N(iqn))), (long long)val_num_at(v, 0, N(lun)));
}

/* As Go prints a list. */
static void texts_add(struct strbuf *b, const struct val *list)
{
    strbuf_addc(b, '[');
    val_each_item (t, list)
        strbuf_addf(b, "%s" STR_FMT, b->n > 1 ? " " : "", STR_ARG(val_text(t)));
    strbuf_addc(b, ']');
}

static struct str fc_handle(struct arena *a, const struct val *v)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    const struct val *targets = val_get(v, N(targetWWNs)), *lun = val_get(v, N(lun));
    bool by_target = val_len(targets) && lun;
    texts_add(&b, by_target ? targets : val_get(v, N(wwids)));
    if (by_target)
        strbuf_addf(&b, ":%lld", (long long)val_num(lun, 0));
    return str_dup(a, strbuf_str(&b));
}

bool disk_id(struct arena *a, const struct val *spec, struct disk_id *out)
{
    static const struct {
        const struct name *source;
        struct str driver;
        struct str (*handle)(struct arena *a, const struct val *source);
    } rows[] = {{N(iscsi), S_INIT("kubernetes.io/iscsi"), iscsi_handle},
                {N(fc), S_INIT("kubernetes.io/fc"), fc_handle}};
    for (size_t i = 0; i < countof(rows); i++) {
        const struct val *source = val_get(spec, rows[i].source);
        if (!source)
            continue;
        *out = (struct disk_id){rows[i].source, rows[i].driver, rows[i].handle(a, source)};
        return true;
    }
    return false;
}
