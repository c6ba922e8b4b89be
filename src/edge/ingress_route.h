/* ingress_route.h - what Ingresses want of the front door: routes, pools, certificates. Pure: from a view to a
 * door_part; control/ingress.h reads the objects. */
#pragma once
#include "control/ingress.h"
#include "edge/door.h"
#include "edge/pools.h"

/* What one Ingress, or all together, ask for. Texts live in the arena, and in the view's objects. */
struct ingress_wish {
    struct arena arena;
    struct door_part part;
    ARRAY(struct pool_want) pools;
    ARRAY(struct ingress_need) needs;
};
/* An object that is read by name: to be in the view. */
struct ingress_need {
    const struct kind *kind;
    struct str ns, name;
};
void ingress_wish_fini(struct ingress_wish *w);
AUTO_VALUE(ingress_wish_fini, struct ingress_wish);

/* Routes and pools of one; nothing for one that is not ours, and for a canary, which stands in the routes of its
 * main. */
void ingress_wish_of(const struct view *v, const struct obj *o, struct ingress_wish *out);
/* Listeners and certificates, which all of them share: for a host with two Secrets the older Ingress's counts.
 * checked: what is known of Secrets since the last time (reading keys takes long where there are many), put in order
 * for the next; its values are not to be read. NULL: nothing is. */
void ingress_wish_shared(const struct view *v, struct map *checked, struct ingress_wish *out);
