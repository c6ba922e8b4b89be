/* dns_feed.h - keeps a DNS zone true to the cluster's Services, EndpointSlices and Namespaces, by watching them. */
#pragma once
#include "client/transport.h"
#include "net/dns_zone.h"

struct dns_feed;
/* heard: everything is in for the first time. The zone belongs to the loop of the transport. For as long as
 * the process lives. */
struct dns_feed *dns_feed_new(struct transport *t, struct dns_zone *zone, void (*heard)(void *arg), void *arg);
