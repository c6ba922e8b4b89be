/* gateway_route_int.h - what a route's rules become at the front door: matches, actions, and the pools that they
 * name. Pure: pools are collected, not asked for. */
#pragma once
#include "control/gateway.h"
#include "edge/door.h"
#include "edge/pools.h"

struct gateway_rules {
    const struct view *view;
    struct arena *arena;
    const struct obj *route;
    enum route_kind kind;
    struct str owner; /* "HTTPRoute/NS/NAME" */
    /* Where the route attaches: a door_route for each, for each host. */
    struct str listener, host;
    bool terminates;  /* TLS ends at that listener */
    struct str shown; /* key of the certificate that its Gateway shows to backends; "": none */
    struct door_part *part;
    ARRAY(struct pool_want) pools; /* in the arena; a key may stand there several times */
};
/* Adds what the route asks for on g->listener for g->host. */
void gateway_rules_add(struct gateway_rules *g);
