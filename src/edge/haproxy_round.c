/* haproxy_round.c - telling the running process the difference. A round tells what is not as it should be, in an
 * order that lets nothing name what is not there, and ends with the last answer; the next one takes what has changed
 * meanwhile. Of an item one round has several commands on their way; what it has counts after the last. */
#include "base/log.h"
#include "edge/haproxy_int.h"

#define ROUND_MOST   1000
#define AGAIN        (100 * NS_PER_MS)
#define PARTING_MOST (30 * NS_PER_S)
#define CHUNK_MOST   (14 << 10)

/* What an answer must be. */
enum expect {
    EXPECT_NOTHING,
    EXPECT_GONE,
    EXPECT_ADDED,
    EXPECT_DELETED,
    EXPECT_NEW,
    EXPECT_SET,
    EXPECT_SUCCESS,
    EXPECT_UNLISTED,
    EXPECT_UNCERT,
    EXPECT_VERSION,
    EXPECT_LINES
};
static const struct {
    bool nothing;         /* may be empty */
    const char *words[2]; /* or must have one of these in it */
} expects[] = {
    [EXPECT_NOTHING] = {true, {0}},
    [EXPECT_GONE] = {true, {"not found"}},
    [EXPECT_ADDED] = {false, {"New server registered"}},
    [EXPECT_DELETED] = {false, {"Server deleted", "No such server"}},
    [EXPECT_NEW] = {false, {"New ", "already exists"}},
    [EXPECT_SET] = {false, {"ransaction "}},
    [EXPECT_SUCCESS] = {false, {"Success!"}},
    [EXPECT_UNLISTED] = {false, {"deleted in crtlist", "doesn't exist"}},
    [EXPECT_UNCERT] = {false, {"deleted!", "doesn't exist"}},
    [EXPECT_VERSION] = {false, {"New version created: "}},
    [EXPECT_LINES] = {false, {"# "}},
};

struct haproxy_tell {
    struct list node;
    struct haproxy *h;
    struct haproxy_item *item;
    enum expect expect;
};

/* --- what is as it should be
 * ------------------------------------------------------------------------------------------ */

const char *kind_folder(enum haproxy_kind kind)
{
    switch (kind) {
    case HAPROXY_ENTRY:
    case HAPROXY_MAP: return "maps/";
    case HAPROXY_SERVER: return "backend/";
    case HAPROXY_CERT: return "certs/";
    case HAPROXY_LISTED: return "lists/";
    }
    return "";
}

bool item_cert_wanted(const struct haproxy *h, struct str cert)
{
    struct haproxy_group *certs = map_get(&h->groups, S("certs/"));
    struct haproxy_item *i = certs ? map_get(&certs->items, cert) : NULL;
    return i && i->want;
}

/* Entries say what becomes of a request in words that only their shape knows: told while another is on its way they
 * would be half of what was asked for (a route without its filters). So they come with it, or are told when it does
 * not start. */
static bool entry_waits(const struct haproxy *h, const struct haproxy_item *i)
{
    bool entry = i->group->kind == HAPROXY_ENTRY || i->group->kind == HAPROXY_MAP;
    return entry && h->shape->n && !h->wait && !buf_same(h->cur->mark, h->shape_mark);
}

/* What the process cannot have as its shape does not speak of it comes with the next shape. */
static bool item_fits(const struct haproxy *h, const struct haproxy_item *i)
{
    const struct haproxy_names *n = h->cur ? h->cur->names : NULL;
    if (!n || entry_waits(h, i))
        return false;
    if (i->group->kind == HAPROXY_CERT)
        return true;
    if (i->group->kind == HAPROXY_LISTED && i->want && !item_cert_wanted(h, i->name))
        return false;
    return names_has(n, kind_folder(i->group->kind), i->group->name);
}

bool item_is_true(const struct haproxy *h, const struct haproxy_item *i)
{
    if (!item_fits(h, i))
        return true;
    if (!i->want)
        return !i->have || i->parting;
    if (!buf_same(i->mark, i->have))
        return i->group->kind == HAPROXY_CERT && !i->have &&
               i->want->n + 256 > TALK_COMMAND_MOST; /* read when named */
    return i->group->kind != HAPROXY_SERVER || (i->weight == i->have_weight && !i->parting);
}

static enum haproxy_phase item_phase(const struct haproxy_item *i)
{
    switch (i->group->kind) {
    case HAPROXY_ENTRY:
    case HAPROXY_MAP: return PHASE_MAP;
    case HAPROXY_SERVER: return i->want ? PHASE_SERVER : PHASE_UNSERVE;
    case HAPROXY_CERT: return i->want ? PHASE_CERT : PHASE_UNCERT;
    case HAPROXY_LISTED: return i->want ? PHASE_LISTED : PHASE_UNLIST;
    }
    return PHASE_MAP;
}

void item_judge(struct haproxy *h, struct haproxy_item *i)
{
    bool listed = i->node.next != &i->node;
    if (listed)
        h->ndirty--;
    list_del(&i->node);
    if (i->open)
        return; /* judged when all is answered */
    if (!item_is_true(h, i)) {
        list_add_tail(&h->dirty[item_phase(i)], &i->node);
        h->ndirty++;
    } else if (!i->want && !i->have && !i->next) {
        item_free(i->group, i);
    }
}

void items_judge(struct haproxy *h)
{
    map_each (e, &h->groups)
        map_each (k, &((struct haproxy_group *)e->value)->items)
            item_judge(h, k->value);
}

/* --- servers that part
 * ------------------------------------------------------------------------------------------------------ */

void parting_set(struct haproxy *h, struct haproxy_item *i, bool parting)
{
    i->parting = parting;
    list_del(&i->parting_node);
    if (!parting)
        return;
    list_add_tail(&h->partings, &i->parting_node);
    if (!timer_is_set(&h->parting_timer))
        timer_set(&h->parting_timer, h->parting_wait = NS_PER_S);
}

/* --- answers
 * ------------------------------------------------------------------------------------------------------------- */

static void round_ended(struct haproxy *h)
{
    h->round = false;
    bool whole = !h->round_cut && !h->round_bad;
    haproxy_rounded(h, whole);
}

static void item_told(struct haproxy *h, struct haproxy_item *i)
{
    if (i->bad) {
        h->round_bad = true;
        if (++i->refused >= 2)
            h->reload = true;
        i->bad = false;
        buf_put(&i->telling, NULL);
    } else {
        i->refused = 0;
        if (!i->parting || i->telling) {
            buf_put(&i->have, i->telling);
            i->telling = NULL;
            i->have_weight = i->telling_weight;
            parting_set(h, i, false);
        } else {
            buf_put(&i->telling, NULL);
        }
    }
    item_judge(h, i);
}

static bool answer_fits(enum expect e, struct str answer)
{
    if (!answer.n)
        return expects[e].nothing;
    for (size_t i = 0; i < countof(expects[e].words); i++)
        if (expects[e].words[i] && str_has(answer, str_of(expects[e].words[i])))
            return true;
    return false;
}

static void tell_mark(struct haproxy *h, struct haproxy_item *i, struct buf *mark);
static void item_map_version(struct haproxy *h, struct haproxy_item *i, struct str answer);
static void item_list_lines(struct haproxy *h, struct haproxy_item *i, struct str answer);

static void tell_answered(void *arg, struct str answer, const struct err *err)
{
    struct haproxy_tell *t = arg;
    struct haproxy *h = t->h;
    struct haproxy_item *i = t->item;
    enum expect expect = t->expect;
    list_del(&t->node);
    mem_free(t);
    if (!h)
        return; /* given up meanwhile */
    if (err) {
        if (err->kind != E_CANCELLED)
            haproxy_lost(h, err); /* all of the round is void */
        return;
    }
    bool ok = answer_fits(expect, answer),
         gone = expect == EXPECT_DELETED || expect == EXPECT_UNCERT || expect == EXPECT_UNLISTED;
    if (!ok && expect == EXPECT_DELETED && str_has(answer, S("still has connections"))) {
        ok = !i->telling;
        h->reload |= !ok; /* it comes back changed under its name */
        if (ok)
            parting_set(h, i, true);
    } else if (!ok && expect == EXPECT_UNCERT && str_has(answer, S("in use"))) {
        ok = true; /* by a server that still has connections */
        parting_set(h, i, true);
    } else if (!ok && expect == EXPECT_UNLISTED && str_has(answer, S("used as default certificate"))) {
        ok = h->reload = true; /* of a frontend that the next shape has no more */
    } else if (ok && gone && !i->telling) {
        parting_set(h, i, false);
        tell_mark(h, i, NULL);
    } else if (!ok) {
        log_warn("haproxy.refused", "what=%s" STR_FMT " item=\"" STR_FMT "\" answer=\"" STR_FMT "\"",
                 kind_folder(i->group->kind), STR_ARG(i->group->name), STR_ARG(i->name),
                 STR_ARG(str_sub(answer, 0, 400)));
    } else if (expect == EXPECT_VERSION) {
        item_map_version(h, i, answer);
    } else if (expect == EXPECT_LINES) {
        item_list_lines(h, i, answer);
    }
    i->bad |= !ok;
    if (--i->open == 0)
        item_told(h, i);
    if (--h->round_open == 0)
        round_ended(h);
}

/* --- commands
 * ------------------------------------------------------------------------------------------------------------ */

static void command_tell(struct haproxy *h, struct haproxy_item *i, enum expect expect, struct strbuf *text)
{
    struct haproxy_tell *t = mem_alloc(sizeof *t);
    *t = (struct haproxy_tell){.h = h, .item = i, .expect = expect};
    list_add_tail(&h->tells, &t->node);
    i->open++;
    h->round_open++;
    talk_ask(h->cur->talk, strbuf_str(text), tell_answered, t);
    strbuf_reset(text);
}

void haproxy_tells_drop(struct haproxy *h)
{
    list_each (t, &h->tells, struct haproxy_tell, node) {
        t->item->open = 0;
        t->item->bad = false;
        buf_put(&t->item->telling, NULL);
        list_del(&t->node);
        t->h = NULL; /* its conversation frees it */
    }
    h->round = false;
    h->round_open = 0;
}

/* A word of a command: what would end it, or the command, is escaped. */
static void add_word(struct strbuf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (strchr("\\; \t<", s.p[i]))
            strbuf_addc(out, '\\');
        strbuf_addc(out, s.p[i]);
    }
}

/* The mark of what was told, or that it is gone. */
static void tell_mark(struct haproxy *h, struct haproxy_item *i, struct buf *mark)
{
    AUTO(strbuf_fini) struct strbuf c = STRBUF(STRBUF_TEXT);
    const char *verb = !mark ? "del" : i->have ? "set" : "add";
    strbuf_addf(&c, "%s map maps/" MARKS " %s" STR_FMT "/" STR_FMT, verb, kind_folder(i->group->kind),
                STR_ARG(i->group->name), STR_ARG(i->name));
    if (mark)
        strbuf_addf(&c, " " STR_FMT, STR_ARG(buf_str(mark)));
    strbuf_addc(&c, '\n');
    command_tell(h, i, mark ? EXPECT_NOTHING : EXPECT_GONE, &c);
}

static void entry_tell(struct haproxy *h, struct haproxy_item *i, struct strbuf *c)
{
    strbuf_addf(c, "%s map maps/" STR_FMT " ", !i->want ? "del" : i->have ? "set" : "add", STR_ARG(i->group->name));
    add_word(c, i->name);
    if (i->want) {
        strbuf_addc(c, ' ');
        add_word(c, buf_str(i->want));
    }
    strbuf_addc(c, '\n');
    command_tell(h, i, i->want ? EXPECT_NOTHING : EXPECT_GONE, c);
}

/* A version beside the one that serves, filled, and put in its place: nobody sees half of it. */
static void map_tell(struct haproxy *h, struct haproxy_item *i, struct strbuf *c)
{
    strbuf_addf(c, "prepare map maps/" STR_FMT "\n", STR_ARG(i->group->name));
    command_tell(h, i, EXPECT_VERSION, c);
}

static void item_map_version(struct haproxy *h, struct haproxy_item *i, struct str answer)
{
    AUTO(strbuf_fini) struct strbuf c = STRBUF(STRBUF_TEXT);
    struct str rest = i->telling ? buf_str(i->telling) : STR_NONE, word = S("New version created: "), line;
    ptrdiff_t at = str_find(answer, word);
    uint64_t version;
    if (!str_to_u64(str_trim(str_sub(answer, (size_t)at + word.n, answer.n)), UINT32_MAX, &version)) {
        i->bad = true;
        return;
    }
    while (rest.n) {
        strbuf_addf(&c, "add map @%llu maps/" STR_FMT " <<\n", (unsigned long long)version, STR_ARG(i->group->name));
        while (rest.n && c.n < CHUNK_MOST / 2 && str_cut(&rest, '\n', &line) && line.n) {
            strbuf_add(&c, line);
            strbuf_addc(&c, '\n');
        }
        strbuf_addc(&c, '\n');
        command_tell(h, i, EXPECT_NOTHING, &c);
    }
    strbuf_addf(&c, "commit map @%llu maps/" STR_FMT "\n", (unsigned long long)version, STR_ARG(i->group->name));
    command_tell(h, i, EXPECT_NOTHING, &c);
}

static void server_verb(struct haproxy *h, struct haproxy_item *i, enum expect e, struct strbuf *c, const char *verb,
                        const char *rest)
{
    strbuf_addf(c, "%s server " STR_FMT "/" STR_FMT "%s\n", verb, STR_ARG(i->group->name), STR_ARG(i->name), rest);
    command_tell(h, i, e, c);
}

static void server_tell(struct haproxy *h, struct haproxy_item *i, struct strbuf *c)
{
    bool same = i->want && buf_same(i->mark, i->have);
    if (same) {
        char weight[32];
        (void)snprintf(weight, sizeof weight, " weight %u", (unsigned)i->weight);
        server_verb(h, i, EXPECT_NOTHING, c, "set", weight);
        if (i->parting)
            server_verb(h, i, EXPECT_NOTHING, c, "set", " state ready");
        return;
    }
    if (i->have) {
        server_verb(h, i, EXPECT_NOTHING, c, "set", " state maint");
        server_verb(h, i, EXPECT_DELETED, c, "del", "");
    }
    if (i->want) {
        strbuf_addf(c, "add server " STR_FMT "/" STR_FMT " " STR_FMT " weight %u\n", STR_ARG(i->group->name),
                    STR_ARG(i->name), STR_ARG(buf_str(i->want)), (unsigned)i->weight);
        command_tell(h, i, EXPECT_ADDED, c);
        server_verb(h, i, EXPECT_NOTHING, c, "enable", "");
        tell_mark(h, i, i->mark);
    }
}

static void cert_tell(struct haproxy *h, struct haproxy_item *i, struct strbuf *c)
{
    struct str pem = i->want ? buf_str(i->want) : STR_NONE;
    const char *what = i->is_ca ? "ca-file" : "cert";
    if (!i->want) {
        strbuf_addf(c, "del ssl %s certs/" STR_FMT ".pem\n", what, STR_ARG(i->name));
        command_tell(h, i, EXPECT_UNCERT, c);
        return;
    }
    if (!i->have) {
        strbuf_addf(c, "new ssl %s certs/" STR_FMT ".pem\n", what, STR_ARG(i->name));
        command_tell(h, i, EXPECT_NEW, c);
    }
    strbuf_addf(c, "set ssl %s certs/" STR_FMT ".pem <<\n" STR_FMT "\n", what, STR_ARG(i->name), STR_ARG(pem));
    command_tell(h, i, EXPECT_SET, c);
    strbuf_addf(c, "commit ssl %s certs/" STR_FMT ".pem\n", what, STR_ARG(i->name));
    command_tell(h, i, EXPECT_SUCCESS, c);
    tell_mark(h, i, i->mark);
}

static void listed_tell(struct haproxy *h, struct haproxy_item *i, struct strbuf *c)
{
    struct str list = i->group->name;
    if (i->want) {
        strbuf_addf(c, "add ssl crt-list lists/" STR_FMT " <<\ncerts/" STR_FMT ".pem " STR_FMT "\n\n", STR_ARG(list),
                    STR_ARG(i->name), STR_ARG(buf_str(i->want)));
        command_tell(h, i, EXPECT_SUCCESS, c);
    }
    if (i->want && i->have) { /* the entry before it goes when the new one is there: which it is, is asked */
        strbuf_addf(c, "show ssl crt-list -n lists/" STR_FMT "\n", STR_ARG(list));
        command_tell(h, i, EXPECT_LINES, c);
    } else if (i->have) {
        strbuf_addf(c, "del ssl crt-list lists/" STR_FMT " certs/" STR_FMT ".pem\n", STR_ARG(list), STR_ARG(i->name));
        command_tell(h, i, EXPECT_UNLISTED, c);
    }
    if (i->want)
        tell_mark(h, i, i->mark);
}

/* Lines "certs/NAME.pem:NUMBER ...", the older ones first: all of this certificate but the last are deleted. */
static void item_list_lines(struct haproxy *h, struct haproxy_item *i, struct str answer)
{
    AUTO(strbuf_fini) struct strbuf c = STRBUF(STRBUF_TEXT), key = STRBUF(STRBUF_TEXT);
    uint64_t before = 0, n;
    struct str rest = answer, line, number;
    strbuf_addf(&key, "certs/" STR_FMT ".pem:", STR_ARG(i->name));
    while (str_cut(&rest, '\n', &line)) {
        if (!str_starts(line, strbuf_str(&key)))
            continue;
        (void)str_split(str_sub(line, key.n, line.n), ' ', &number, &line);
        if (!str_to_u64(number, UINT32_MAX, &n))
            continue;
        if (before) {
            strbuf_addf(&c, "del ssl crt-list lists/" STR_FMT " certs/" STR_FMT ".pem:%llu\n",
                        STR_ARG(i->group->name), STR_ARG(i->name), (unsigned long long)before);
            command_tell(h, i, EXPECT_UNLISTED, &c);
        }
        before = n;
    }
}

static void item_tell(struct haproxy *h, struct haproxy_item *i)
{
    AUTO(strbuf_fini) struct strbuf c = STRBUF(2 * TALK_COMMAND_MOST);
    list_del(&i->node);
    h->ndirty--;
    size_t length = (i->want ? i->want->n : 0) + i->name.n + 256;
    if (i->group->kind != HAPROXY_MAP && length > TALK_COMMAND_MOST) {
        h->reload = h->round_bad = true; /* from files there is no limit */
        return;
    }
    buf_put(&i->telling, i->want ? buf_ref(i->mark) : NULL);
    i->telling_weight = i->weight;
    switch (i->group->kind) {
    case HAPROXY_ENTRY: entry_tell(h, i, &c); return;
    case HAPROXY_MAP: map_tell(h, i, &c); return;
    case HAPROXY_SERVER: server_tell(h, i, &c); return;
    case HAPROXY_CERT: cert_tell(h, i, &c); return;
    case HAPROXY_LISTED: listed_tell(h, i, &c); return;
    }
}

/* Once more, and less often the longer it takes. */
void parting_again(struct haproxy *h)
{
    AUTO(strbuf_fini) struct strbuf c = STRBUF(STRBUF_TEXT);
    if (!h->cur || list_empty(&h->partings))
        return;
    timer_set(&h->parting_timer, h->round ? AGAIN : h->parting_wait);
    if (h->round)
        return;
    h->parting_wait = MIN(2 * h->parting_wait, PARTING_MOST);
    h->round = h->round_cut = true; /* nothing is applied by it */
    h->round_bad = false;
    h->round_open = 1;
    list_each (i, &h->partings, struct haproxy_item, parting_node) {
        if (i->want)
            continue;
        buf_put(&i->telling, NULL);
        if (i->group->kind == HAPROXY_SERVER)
            server_verb(h, i, EXPECT_DELETED, &c, "del", "");
        else
            cert_tell(h, i, &c);
    }
    if (--h->round_open == 0)
        round_ended(h);
}

void round_start(struct haproxy *h)
{
    size_t n = 0;
    h->round = true;
    h->round_cut = h->round_bad = false;
    h->round_revision = h->committed;
    h->round_open = 1; /* this function's own */
    for (size_t phase = 0; phase < PHASES && !h->round_cut; phase++) {
        list_each (i, &h->dirty[phase], struct haproxy_item, node) {
            if (n++ >= ROUND_MOST) {
                h->round_cut = true;
                break;
            }
            item_tell(h, i);
        }
    }
    if (--h->round_open == 0)
        round_ended(h);
}
