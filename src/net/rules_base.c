/* rules_base.c - the text of the table, which is loaded once.
 *
 * Chains name no Service; a packet's protocol, address and port are looked up in a map whose answer is a
 * chain, and that chain takes a random number below its number of slots and looks it up in the map of endpoints. So
 * the cost of a packet does not depend on the number of Services, and a Service that changes is some elements. */
#include "net/ipam.h"
#include "net/rules.h"

void rules_table_name(struct instance in, char name[16])
{
    (void)snprintf(name, 16, "wherry-%s", in.id);
}

/* Chains that no element needs to know. $X stands for what the configuration says. */
static const char base[] =
    "table ip $TABLE {\n"
    "\tcomment \"Service rules of Wherry. Changes made here by hand are undone.\"\n"
    "\tmap svc { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap svcx { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap np { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap npx { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap lb { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap lbx { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap learn { typeof meta l4proto . ip daddr . th dport : verdict; }\n"
    "\tmap nplearn { typeof meta l4proto . th dport : verdict; }\n"
    "\tmap eps { typeof meta l4proto . ip daddr . th dport . numgen random mod 65536 : ip daddr . th dport; }\n"
    "\tmap npeps { typeof meta l4proto . th dport . numgen random mod 65536 : ip daddr . th dport; }\n"
    "\tmap aff { typeof meta l4proto . ip daddr . th dport . ip saddr : ip daddr . th dport; "
    "flags dynamic,timeout; timeout 3h; size 262144; }\n"
    "\tset hairpin { typeof ip saddr . ip daddr; }\n"
    "\tset dead { typeof meta l4proto . ip daddr . th dport; }\n"
    "\tset npdead { typeof meta l4proto . th dport; }\n"
    "\tset guard { typeof meta l4proto . ip daddr . th dport; }\n"
    "\tset npguard { typeof meta l4proto . th dport; }\n"
    "\tset allow { typeof meta l4proto . ip daddr . th dport . ip saddr; flags interval; }\n"
    "\tset npallow { typeof meta l4proto . th dport . ip saddr; flags interval; }\n"
    "\tset vips { typeof ip daddr; }\n"
    "\tset vipports { typeof meta l4proto . ip daddr . th dport; }\n"
    /* every address of the service range counts as local, see ranges.c */
    "\tchain outside {\n"
    "$OWN"
    "\t\tmeta l4proto . ip daddr . th dport vmap @svcx\n"
    "\t\tip daddr != $SERVICES ip daddr != @vips fib daddr type local meta l4proto . th dport vmap @npx\n"
    "\t\tip daddr != { 127.0.0.0/8, $SERVICES } ip daddr != @vips fib daddr type local "
    "meta l4proto . th dport vmap @lbx\n"
    "\t}\n"
    "\tchain services {\n"
    "$OWN"
    "\t\tmeta l4proto . ip daddr . th dport vmap @svc\n"
    "\t\tip daddr != $SERVICES ip daddr != @vips fib daddr type local meta l4proto . th dport vmap @np\n"
    "\t\tip daddr != { 127.0.0.0/8, $SERVICES } ip daddr != @vips fib daddr type local "
    "meta l4proto . th dport vmap @lb\n"
    "\t}\n"
    "\tchain nat-prerouting {\n"
    "\t\ttype nat hook prerouting priority -105; policy accept;\n"
    "\t\tip saddr != $PODS jump outside\n"
    "\t\tjump services\n"
    "\t}\n"
    "\tchain nat-output {\n"
    "\t\ttype nat hook output priority -105; policy accept;\n"
    "\t\tjump services\n"
    "\t}\n"
    /* an endpoint on another node must answer by way of us; a client that is a pod or this node keeps its address */
    "\tchain nat-postrouting {\n"
    "\t\ttype nat hook postrouting priority 95; policy accept;\n"
    /* not the node's address: connections of the host to ClusterIPs have that, with other clocks in their timestamps;
     * an endpoint that remembers one of either would not answer the other's SYN for a second */
    "\t\tct status dnat ip saddr 127.0.0.0/8 ip daddr $NODEPODS oifname != \"lo\" snat to 169.254.1.1\n"
    "\t\tct status dnat ip saddr 127.0.0.0/8 oifname != \"lo\" snat to $NODE\n"
    /* a third address for the same reason; nobody has it, answers are translated back before they are routed */
    "\t\tct status dnat ip saddr . ip daddr @hairpin oifname != \"lo\" snat to 169.254.1.2\n"
    "\t\tip saddr $PODS ip daddr != $PODS oifname != \"lo\" masquerade fully-random\n"
    "\t\tct status dnat ip saddr != $PODS ip daddr != $NODEPODS fib saddr type != local masquerade fully-random\n"
    "\t}\n"
    /* after translation; the rules of `learn` are made by nft.c */
    "\tchain learn {\n"
    "\t}\n"
    "\tchain learn-prerouting {\n"
    "\t\ttype filter hook prerouting priority -95; policy accept;\n"
    "\t\tct state new ct status dnat jump learn\n"
    "\t}\n"
    "\tchain learn-output {\n"
    "\t\ttype filter hook output priority -95; policy accept;\n"
    "\t\tct state new ct status dnat jump learn\n"
    "\t}\n"
    /* route_localnet is on for links of pods, so that answers to 127.0.0.1:NODEPORT come home; nothing else may */
    "\tchain raw-prerouting {\n"
    "\t\ttype filter hook prerouting priority -300; policy accept;\n"
    "\t\tiifname \"$LINKS*\" ip daddr 127.0.0.0/8 drop\n"
    "\t}\n"
    /* before anything is translated: who may not reach a load balancer is not answered, as kube-proxy has it. What
     * the machine itself sends does not come by here */
    "\tchain guard-prerouting {\n"
    "\t\ttype filter hook prerouting priority -110; policy accept;\n"
    "\t\tiifname != \"lo\" ct state new meta l4proto . ip daddr . th dport @guard "
    "meta l4proto . ip daddr . th dport . ip saddr != @allow drop\n"
    "\t\tiifname != \"lo\" ct state new ip daddr != $SERVICES ip daddr != @vips fib daddr type local "
    "meta l4proto . th dport @npguard meta l4proto . th dport . ip saddr != @npallow drop\n"
    "\t}\n"
    /* a reset is not rate-limited as ICMP is */
    "\tchain refuse {\n"
    "\t\tmeta l4proto tcp reject with tcp reset\n"
    "\t\treject with icmp port-unreachable\n"
    "\t}\n"
    /* what no rule translated */
    "\tchain untranslated {\n"
    "\t\tip daddr $SERVICES jump refuse\n"
    "$OWN"
    "\t\tct state new meta l4proto . ip daddr . th dport @dead jump refuse\n"
    "\t}\n"
    "\tchain filter-prerouting {\n"
    "\t\ttype filter hook prerouting priority 0; policy accept;\n"
    "\t\tct state new ip daddr $PODS fib daddr type != local fib daddr oif missing jump refuse\n"
    "\t}\n"
    "\tchain filter-forward {\n"
    "\t\ttype filter hook forward priority 0; policy accept;\n"
    "\t\tjump untranslated\n"
    /* a packet that conntrack gave up on would reach its client untranslated and end the connection */
    "\t\tct state invalid ip saddr $PODS drop\n"
    "\t}\n"
    "\tchain filter-output {\n"
    "\t\ttype filter hook output priority 0; policy accept;\n"
    "$OWN"
    "\t\tct state new meta l4proto . ip daddr . th dport @dead jump refuse\n"
    "\t}\n"
    "\tchain filter-input {\n"
    "\t\ttype filter hook input priority 0; policy accept;\n"
    "\t\tjump untranslated\n"
    "$OWN"
    "\t\tct state new ip daddr != @vips fib daddr type local meta l4proto . th dport @npdead jump refuse\n"
    /* an address of a load balancer is local so that the kernel answers ARP; what listens here on all addresses is
     * not meant by it */
    "\t\tct state new ip daddr @vips meta l4proto { tcp, udp, sctp } "
    "meta l4proto . ip daddr . th dport != @vipports jump refuse\n"
    "\t}\n"
    "}\n";

/* What listens here itself: no hostPort and no external address of this machine takes its connections. */
static void own_port(const struct rules_config *c, struct strbuf *out)
{
    if (c->own_port)
        strbuf_addf(out, "\t\ttcp dport %u ip daddr != " CIDR_FMT " ip daddr != @vips fib daddr type local return\n",
                    c->own_port, CIDR_ARG(c->services));
}

void rules_base_text(const struct rules_config *c, struct strbuf *out)
{
    char table[16];
    rules_table_name(c->instance, table);
    strbuf_addf(out, "table ip %s {\n}\ndelete table ip %s\n", table, table);
    for (const char *p = base; *p;) {
        if (*p != '$') {
            strbuf_addc(out, *p++);
            continue;
        }
        struct str rest = str_of(p + 1);
        const struct {
            struct str name;
            struct cidr4 cidr;
        } ranges[] = {{S("PODS"), c->pods}, {S("NODEPODS"), c->node_pods}, {S("SERVICES"), c->services}};
        size_t used = 1;
        if (str_starts(rest, S("TABLE"))) {
            strbuf_addz(out, table);
            used += 5;
        } else if (str_starts(rest, S("LINKS"))) {
            strbuf_addf(out, "w%s-", c->instance.id);
            used += 5;
        } else if (str_starts(rest, S("OWN"))) {
            own_port(c, out);
            used += 3;
        } else if (str_starts(rest, S("NODE")) && !str_starts(rest, S("NODEPODS"))) {
            strbuf_addf(out, IP4_FMT, IP4_ARG(ipam_node_ip(c->node_pods)));
            used += 4;
        }
        for (size_t i = 0; i < countof(ranges); i++) {
            if (!str_starts(rest, ranges[i].name))
                continue;
            strbuf_addf(out, CIDR_FMT, CIDR_ARG(ranges[i].cidr));
            used += ranges[i].name.n;
            break;
        }
        ASSERT(used > 1);
        p += used;
    }
}

uint64_t rules_base_version(const struct rules_config *c)
{
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: the same on every start */
    rules_base_text(c, &b);
    for (size_t i = 0; i < b.n; i++)
        h = (h ^ (uint8_t)b.p[i]) * 0x100000001b3u;
    return h;
}
