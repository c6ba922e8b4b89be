#include "server/crds.h"
#include "server/watch.h"

static void kinds_of_set_changed(struct kind_listener *l, const struct kind_set *was UNUSED,
                                 const struct kind_set *now)
{
    watches_of_gone(container_of(l, struct server, kinds_changed), now);
}

void kinds_init(struct server *s)
{
    kind_publisher_init(&s->kinds);
    s->kinds_changed.fn = kinds_of_set_changed;
    kind_listen(&s->kinds, &s->kinds_changed);
}

void kinds_fini(struct server *s)
{
    kind_publisher_fini(&s->kinds);
}

struct kind_publisher *server_kinds(struct server *s)
{
    return &s->kinds;
}

void kinds_serve(struct server *s, const struct kind_set *own_set)
{
    kind_publish(&s->kinds, own_set);
}

bool kinds_known(void *arg, const struct store_snapshot *have, struct err *err)
{
    struct server *s = container_of(arg, struct server, kinds);
    const struct kind_set *set = s->options.kinds ? s->options.kinds(s->options.arg, have, err)
                                                  : crds_stored(s->crds, have);
    if (set)
        kinds_serve(s, set);
    return set;
}
