/* vip.h - addresses of load balancers that this machine answers for: on lo as /32, under a label of ours, so that the
 * kernel answers ARP for them on every link and processes can bind them. The kernel is the only memory: vip_list says
 * after a restart what is there. And what the machine is on the network: its links' subnets, and what listens.
 * Blocking, short. */
#pragma once
#include "base/array.h"
#include "net/link.h"

struct vips {
    ARRAY(uint32_t) list;
};
MUST_USE bool vip_list(struct instance in, struct vips *out, struct err *err); /* array_fini(&out->list) */
MUST_USE bool vip_add(struct instance in, uint32_t ip, struct err *err);       /* there already: true */
MUST_USE bool vip_del(struct instance in, uint32_t ip, struct err *err);       /* not there: true */
/* Gratuitous ARP (RFC 5227, 3), a request and an answer, on the links that have the address in their subnet; where
 * `interfaces` (by commas) names some, on those instead. Links that are down or no Ethernet are passed over. */
MUST_USE bool vip_tell(uint32_t ip, struct str interfaces, struct err *err);
/* The first of these links on which the kernel does not answer for addresses of lo (arp_ignore); "": none. */
MUST_USE bool vip_is_heard(uint32_t ip, struct str interfaces, char deaf[static IFNAMSIZ], struct err *err);

/* "eth0=192.0.2.0/24,...": of links that are up, without pods' and lo. */
MUST_USE bool link_subnets(struct instance in, struct strbuf *out, struct err *err);
/* "TCP/22,UDP/68": ports on which somebody listens on more than loopback and addresses within `inside`, but for what
 * the user `but` does; of UDP those below 32768, as clients have the others. In order, at most 200. */
MUST_USE bool ports_listening(struct cidr4 inside, unsigned but, struct strbuf *out, struct err *err);
