/* Why there is no certificate by ACME: what the authority said of the account, the order, the name, told from the
 * condition of the issuer and the reasons of Orders and Challenges, with the way out. */
#include "control/acme_int.h"
#include "control/why_int.h"

/* By what stands in the words that were said; those of an authority are urn:ietf:params:acme:error: and one of RFC
 * 8555 6.7. */
static const struct saying acme_words[] = {
    {"rateLimited", "RateLimited", "the authority wants rest: {said}",
     "It is asked again when the authority says; for trying things there are authorities without limits: wherry acme "
     "set --server letsencrypt-staging"},
    {"externalAccountRequired", "AccountUnbound", "the authority wants to know another account of yours: {said}",
     "Get its id and key there, and name them: wherry acme set --eab-kid ID --eab-key FILE"},
    {"external account binding", "AccountUnbound",
     "the authority does not take the key of the account elsewhere: {said}",
     "Name its id and key again: wherry acme set --eab-kid ID --eab-key FILE"},
    {"Contact", "ContactRefused", "the authority does not take the address: {said}",
     "Give another one: wherry acme set --email ADDRESS"},
    {"error:dns", "NameNotInDns", "the authority does not find the name in DNS: {said}",
     "Make an A record (and AAAA, if this machine has IPv6) for it that leads to this machine"},
    {"error:connection", "NotReachable", "the authority does not reach this machine by that name: {said}",
     "Let port 80 (443 where names are proved over TLS) be reached from the internet: DNS, router, firewall"},
    {"error:tls", "NotReachable", "the authority gets no TLS from that name: {said}",
     "Let port 443 of this machine be reached from the internet, with nothing in front that ends TLS"},
    {"error:caa", "CaaForbids", "the name's CAA records name other authorities: {said}",
     "Add one for this authority, or take them away"},
    {"rejectedIdentifier", "NameRefused", "the authority gives no certificates for that name: {said}",
     "Ask another authority, or leave the name out"},
    {"error:unauthorized", "AnotherAnswers", "what answers by that name is not this machine: {said}",
     "Let its A and AAAA records lead to this machine alone, not to a proxy or another server in front"},
    {"error:incorrectResponse", "AnotherAnswers", "what answers by that name is not this machine: {said}",
     "Let its A and AAAA records lead to this machine alone, not to a proxy or another server in front"},
    {"is not among those of Wherry", "SolverUnknown", "{said}", "Name one of these in spec.acme.solvers: {ways}"},
    {"challenge solvers", "SolverMissing", "{said}", "Give the issuer a solver that fits: {ways}"},
    {"the update is refused", "UpdateRefused", "the nameserver does not take the update: {said}",
     "Let the key change that zone there (BIND: update-policy or allow-update), and see tsigKeyName and "
     "tsigAlgorithm"},
    {"TSIG", "UpdateRefused", "the key of the updates is not taken: {said}",
     "See tsigKeyName, tsigAlgorithm and the Secret that tsigSecretSecretRef names; clocks must not differ by 5 "
     "minutes"},
    {"acme-dns-hook", "HookFails", "{said}",
     "See what that program needs; it gets present or cleanup, a name and a value"},
    {"the front door does not answer", "DoorClosed", "{said}",
     "See what else listens there: ss -ltnp 'sport = :80 or sport = :443'; journalctl -u wherry says what the front "
     "door ran into"},
    {"bind the solver's ClusterRole", "WebhookForbidden", "{said}",
     "kubectl create clusterrolebinding NAME --clusterrole=ROLE --user=system:wherry-edge"},
    {"webhook of", "WebhookFails", "{said}", "See the log of the webhook's pods: kubectl get apiservice"},
    {"no host of that name in DNS", "ServerUnknown", "the authority's server is not found: {said}",
     "See spec.acme.server, and whether this machine resolves names: /etc/resolv.conf"},
    {"not one to believe", "ServerUntrusted", "the authority's server is not believed: {said}",
     "Name the authority of its certificate: wherry acme set --ca-bundle FILE"},
    {"cannot be reached", "ServerUnreachable", "the authority's server cannot be reached: {said}",
     "Let this machine connect to it; a proxy is taken from HTTPS_PROXY in the service's environment"},
    {"in time", "ServerUnreachable", "the authority's server does not answer: {said}",
     "Let this machine connect to it; a proxy is taken from HTTPS_PROXY in the service's environment"},
    {"no directory of ACME", "ServerIsAnother", "what answers at spec.acme.server is no authority: {said}",
     "Name the URL of its directory: wherry acme set --server URL"},
    {"the directory", "ServerIsAnother", "what answers at spec.acme.server is no authority: {said}",
     "Name the URL of its directory: wherry acme set --server URL"},
    {"", "AuthoritySaysNo", "{said}", ""},
};

static void say_words(struct question *q, struct finding *f, struct str said)
{
    const struct word words[] = {{"said", why_quoted(q, said)},
                                 {"ways", S("http01, dns01.rfc2136, dns01.webhook, or the setting acme-dns-hook")}};
    why_saying(q, f, acme_words, said, words, countof(words));
}

void why_issuer(struct question *q, const struct obj *o, struct finding *f)
{
    const struct val *ready = condition_get(obj_status(o), "Ready");
    if (str_eqz(val_text_at(ready, N(status)), "True") &&
        val_num_at(ready, 0, N(observedGeneration)) == obj_generation(o))
        return;
    if (!ready)
        why_coming(q, f, "NotLookedAt", "nobody has looked at it yet");
    else if (acme_at(obj_spec(o), "acme"))
        say_words(q, f, val_text_at(ready, N(message)));
    else
        why_found(q, f, "NotReady", STR_FMT, STR_ARG(val_text_at(ready, N(message))));
}

static void issuer_behind(struct question *q, const struct obj *o, struct finding *f)
{
    const struct obj *issuer = acme_issuer_of(q->v, o->ns, obj_spec(o));
    struct str name = acme_text(obj_spec(o), "issuerRef.name");
    struct finding one = {0};
    if (!issuer) {
        why_found(q, f, "IssuerMissing", "its issuer " STR_FMT " is not there, or is none for ACME", STR_ARG(name));
        why_way(q, f, "Make it (wherry acme set), or name another in issuerRef");
        return;
    }
    struct question other = why_about(q, issuer);
    why_issuer(&other, issuer, &one);
    why_behind(q, f, arena_fmt(q->a, "its issuer " STR_FMT ":", STR_ARG(name)), &one);
}

void why_challenge(struct question *q, const struct obj *o, struct finding *f)
{
    struct str state = acme_text(obj_status(o), "state"), said = acme_text(obj_status(o), "reason");
    bool waits = !said.n || str_eqz(state, "processing") || str_has(said, S("does not have the record yet"));
    if (str_eqz(state, "valid"))
        return;
    issuer_behind(q, o, f);
    if (waits)
        why_coming(q, f, "BeingProved", "%s" STR_FMT, said.n ? "" : "it is about to be shown to the authority",
                   STR_ARG(said));
    else
        say_words(q, f, said);
}

/* The Challenge that is worst off, where it says more than the Order. */
static void challenges_behind(struct question *q, const struct obj *o, struct finding *f)
{
    const struct kind *k = view_defined(q->v, acme_challenges);
    struct finding worst = {0};
    const struct obj *whose = NULL;
    if (!k)
        return;
    struct objset_iter it = view_with(q->v, k, &index_owner, o->uid);
    for (struct obj *c; (c = objset_next(&it));) {
        struct finding one = {0};
        struct question other = why_about(q, c);
        why_challenge(&other, c, &one);
        bool worse = why_worse(&one, &worst);
        array_fini(worse ? &worst.chain : &one.chain);
        worst = worse ? one : worst;
        whose = worse ? c : whose;
    }
    if (whose)
        why_behind(q, f, arena_fmt(q->a, STR_FMT ":", STR_ARG(acme_text(obj_spec(whose), "dnsName"))), &worst);
}

void why_order(struct question *q, const struct obj *o, struct finding *f)
{
    struct str state = acme_text(obj_status(o), "state"), said = acme_text(obj_status(o), "reason");
    if (str_eqz(state, "valid") && acme_text(obj_status(o), "certificate").n)
        return;
    why_chain(q, f, "order " STR_FMT ": " STR_FMT, STR_ARG(o->name), STR_ARG(state.n ? state : S("not taken yet")));
    if (!acme_state_is_over(state)) {
        issuer_behind(q, o, f);
        challenges_behind(q, o, f);
    }
    if (said.n)
        say_words(q, f, said);
    why_coming(q, f, "Ordered", "the authority works on it");
}
