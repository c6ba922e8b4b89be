#include "node/condition.h"
#include "base/clock.h"

struct val condition_of(struct arena *a, const struct val *old, const struct status_condition *c, int64_t real)
{
    const struct val *was = val_find(old, N(type), str_of(c->type));
    struct str says = c->yes ? S("True") : S("False"), since = val_text_at(was, N(lastTransitionTime));
    bool same = since.n && str_eq(val_text_at(was, N(status)), says);
    struct val v = val_map();
    val_set_text(a, &v, N(type), str_of(c->type));
    val_set_text(a, &v, N(status), says);
    val_set(a, &v, N(lastTransitionTime), val_str(a, same ? since : time_text(a, real)));
    if (c->reason)
        val_set_text(a, &v, N(reason), str_of(c->reason));
    if (c->message.n)
        val_set(a, &v, N(message), val_str(a, c->message));
    return v;
}
