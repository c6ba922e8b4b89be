/* nft_read.c - what is in the kernel, and whether it is ours as we left it.
 *
 * The names and hooks of chains and the expressions of rules are hashed, without those of spreading chains, which
 * are only counted; the hash and that of the text are in the name of a chain, "v-BASE-RULES", made when the table
 * was loaded. Tables, chains, rules and elements are separate dumps: if any is interrupted by a change, all of it is
 * read again.
 */
#include "net/nft_int.h"
#include <errno.h>

#define READ_TRIES 5

struct nft_reading {
    const char *table;
    struct nft_state *out;
    uint64_t hash;
    char marker[64];
    bool dormant, there, interrupted;
    struct map rules; /* spreading chain -> number of its rules, as a pointer */
    int map;
};

static uint64_t hash_more(uint64_t h, const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

const char *nft_attr_text(const struct nlattr *a)
{
    return mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ? "" : mnl_attr_get_str(a);
}

static void read_table(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a;
    bool ours = false;
    uint32_t flags = 0;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_TABLE_NAME)
            ours = strcmp(nft_attr_text(a), r->table) == 0;
        else if (mnl_attr_get_type(a) == NFTA_TABLE_FLAGS && mnl_attr_get_payload_len(a) == 4)
            flags = __builtin_bswap32(mnl_attr_get_u32(a));
    }
    if (ours) {
        r->there = true;
        r->dormant = flags & NFT_TABLE_F_DORMANT;
    }
}

static void read_chain(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a, *hook = NULL, *policy = NULL;
    const char *table = "", *name = "";
    struct rule_chain c;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_CHAIN_TABLE: table = nft_attr_text(a); break;
        case NFTA_CHAIN_NAME: name = nft_attr_text(a); break;
        case NFTA_CHAIN_HOOK: hook = a; break;
        case NFTA_CHAIN_POLICY: policy = a; break;
        }
    }
    if (strcmp(table, r->table) != 0)
        return;
    if (rule_chain_parse(name, &c)) {
        (void)map_put(&r->out->chains, str_of(name), r);
    } else if (strncmp(name, "v-", 2) == 0) {
        (void)snprintf(r->marker, sizeof r->marker, "%s", name);
    } else {
        r->hash = hash_more(r->hash, name, strlen(name));
        if (hook)
            r->hash = hash_more(r->hash, hook, hook->nla_len);
        if (policy)
            r->hash = hash_more(r->hash, policy, policy->nla_len);
    }
}

static void read_rule(const struct nlmsghdr *h, void *arg)
{
    struct nft_reading *r = arg;
    const struct nlattr *a, *exprs = NULL;
    const char *table = "", *chain = "";
    struct rule_chain c;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        switch (mnl_attr_get_type(a)) {
        case NFTA_RULE_TABLE: table = nft_attr_text(a); break;
        case NFTA_RULE_CHAIN: chain = nft_attr_text(a); break;
        case NFTA_RULE_EXPRESSIONS: exprs = a; break;
        }
    }
    if (strcmp(table, r->table) != 0)
        return;
    if (rule_chain_parse(chain, &c)) {
        uintptr_t n = (uintptr_t)map_get(&r->rules, str_of(chain));
        (void)map_put(&r->rules, str_of(chain), (void *)(n + 1)); /* a count, not an address */
        return;
    }
    r->hash = hash_more(r->hash, chain, strlen(chain));
    if (exprs)
        r->hash = hash_more(r->hash, exprs, exprs->nla_len);
}

static void read_verdict(const struct nlattr *data, struct rule_chain *c)
{
    const struct nlattr *v, *a;
    mnl_attr_for_each_nested(v, data)
    {
        if (mnl_attr_get_type(v) != NFTA_DATA_VERDICT)
            continue;
        mnl_attr_for_each_nested(a, v)
        {
            /* a name that is none of ours stays the empty chain: a difference, so it is repaired */
            if (mnl_attr_get_type(a) == NFTA_VERDICT_CHAIN)
                (void)rule_chain_parse(nft_attr_text(a), c);
        }
    }
}

static void read_one(const struct nlattr *elem, void *arg)
{
    struct nft_reading *r = arg;
    struct rule_element e = {.map = (uint8_t)r->map};
    const struct nlattr *a;
    uint8_t end[RULE_KEY_MAX] = {0};
    size_t n, nend = 0;
    mnl_attr_for_each_nested(a, elem)
    {
        int type = mnl_attr_get_type(a);
        if (type == NFTA_SET_ELEM_KEY) {
            nft_value_copy(a, e.key, sizeof e.key, &n);
            e.key_n = (uint8_t)n;
        } else if (type == NFTA_SET_ELEM_KEY_END) {
            nft_value_copy(a, end, sizeof end, &nend);
        } else if (type == NFTA_SET_ELEM_DATA && rule_map_is_verdict(r->map)) {
            read_verdict(a, &e.chain);
        } else if (type == NFTA_SET_ELEM_DATA) {
            nft_value_copy(a, e.data, sizeof e.data, &n);
            e.data_n = (uint8_t)n;
        }
    }
    if (rule_map_is_ranges(r->map) && nend >= 4 && e.key_n + 4 <= RULE_KEY_MAX) {
        (void)memcpy(e.key + e.key_n, end + nend - 4, 4);
        e.key_n = (uint8_t)(e.key_n + 4);
    }
    array_push(&r->out->elements, e);
}

static void read_elements(const struct nlmsghdr *h, void *arg)
{
    nft_elements_each(h, read_one, arg);
}

void nft_state_fini(struct nft_state *s)
{
    array_fini(&s->elements);
    map_fini(&s->chains);
    *s = (struct nft_state){0};
}

static void read_again(void *arg)
{
    ((struct nft_reading *)arg)->interrupted =
        true; /* what was read fits together only if nothing changed meanwhile */
}

static void read_fresh(struct nft_reading *r)
{
    r->hash = 0xcbf29ce484222325u;
    r->there = r->dormant = r->interrupted = false;
    r->marker[0] = 0;
    map_fini(&r->rules);
    r->rules = MAP;
    nft_state_fini(r->out);
}

static bool read_kind(struct nft *n, struct nft_reading *r, int op, void (*fn)(const struct nlmsghdr *h, void *arg),
                      struct err *err)
{
    AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
    nft_message_begin(&b, op, 0);
    nlbuf_end(&b);
    return netlink_dump(&n->nl, &b, fn, read_again, r, err);
}

static void marker_of(const struct nft *n, uint64_t hash, char marker[64])
{
    (void)snprintf(marker, 64, "v-%016llx-%016llx", (unsigned long long)rules_base_version(&n->config),
                   (unsigned long long)hash);
}

static bool read_chains(struct nft *n, struct nft_reading *r, struct err *err)
{
    return read_kind(n, r, NFT_MSG_GETTABLE, read_table, err) && read_kind(n, r, NFT_MSG_GETCHAIN, read_chain, err) &&
           read_kind(n, r, NFT_MSG_GETRULE, read_rule, err);
}

static unsigned rules_in(struct rule_chain c)
{
    return c.learns ? 1 : c.affinity_s ? 3 : 2;
}

bool nft_marker_of_kernel(struct nft *n, const char *table, char marker[64], struct err *err)
{
    struct nft_state state = {0};
    struct nft_reading r = {.table = table, .out = &state};
    read_fresh(&r);
    bool ok = read_chains(n, &r, err);
    map_fini(&r.rules);
    nft_state_fini(&state);
    if (ok)
        marker_of(n, r.hash, marker);
    return ok;
}

static bool chains_whole(const struct nft_reading *r)
{
    struct rule_chain c;
    map_each (it, &r->out->chains)
        if (!rule_chain_parse(it->key.p, &c) || (uintptr_t)map_get(&r->rules, it->key) != rules_in(c))
            return false;
    return true;
}

static bool read_maps(struct nft *n, struct nft_reading *r, struct err *err)
{
    for (int map = 0; r->out->whole && map < RULE_MAPS; map++) {
        AUTO(nlbuf_fini) struct nlbuf b = NLBUF;
        struct err e = ERR;
        nft_get_elements(&b, r->table, rule_map_name(map));
        r->map = map;
        if (netlink_dump(&n->nl, &b, read_elements, read_again, r, &e))
            continue;
        r->out->whole = false;
        if (e.sys != ENOENT) { /* a map that is gone is repaired like any other damage */
            *err = e;
            return false;
        }
    }
    return true;
}

static bool read_once(struct nft *n, struct nft_reading *r, struct err *err)
{
    char marker[64];
    read_fresh(r);
    if (!read_chains(n, r, err))
        return false;
    marker_of(n, r->hash, marker);
    r->out->whole = r->there && !r->dormant && strcmp(marker, r->marker) == 0 && chains_whole(r);
    return read_maps(n, r, err);
}

bool nft_read(struct nft *n, struct nft_state *out, struct err *err)
{
    char table[16];
    struct nft_reading r = {.table = table, .out = out};
    *out = (struct nft_state){0};
    rules_table_name(n->config.instance, table);
    bool ok = nft_reopen(n, err);
    for (int i = 0; ok && (i == 0 || r.interrupted); i++) {
        ok = i < READ_TRIES
                 ? read_once(n, &r, err)
                 : err_set(err, E_UNAVAILABLE, "the rule set changed during each of %d reads of it", READ_TRIES);
    }
    map_fini(&r.rules);
    if (!ok)
        nft_state_fini(out);
    return ok || err_wrap(err, "read the service rules");
}
