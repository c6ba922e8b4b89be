/* Images: what the registry answered, in a row each. The node keeps containerd's words, which end with the answer. */
#include "api/codec.h"
#include "control/why_int.h"

/* "127.0.0.1:5000" of "127.0.0.1:5000/team/web:1"; docker.io where none is named, as the reference format has it. */
static struct str registry_of(struct str image, struct str *rest)
{
    struct str first;
    if (str_split(image, '/', &first, rest) &&
        (str_find_char(first, '.') >= 0 || str_find_char(first, ':') >= 0 || str_eqz(first, "localhost")))
        return first;
    *rest = image;
    return S("docker.io");
}

/* ---- credentials ---- */

static const char *const docker_hosts[] = {"https://index.docker.io/v1/", "index.docker.io"};

static bool host_matches(struct str key, struct str registry)
{
    for (size_t i = 0; i < countof(docker_hosts); i++)
        if (str_eqz(registry, "docker.io") && str_eqz(key, docker_hosts[i]))
            return true;
    ptrdiff_t scheme = str_find(key, S("://"));
    struct str host = scheme >= 0 ? str_sub(key, (size_t)scheme + 3, key.n) : key, path;
    (void)str_split(host, '/', &host, &path);
    return str_eq(host, registry);
}

/* Whether the Secret has credentials for the registry; hosts: those that it has, where it has not. */
static bool secret_has(struct question *q, const struct obj *secret, struct str registry, struct str *hosts)
{
    const struct val *data = val_get(&secret->tree, N(data)), *v = val_get_str(data, S(".dockerconfigjson")),
                     *old = val_get_str(data, S(".dockercfg"));
    struct val config;
    struct err ignored = ERR; /* unreadable ones hold nothing for this registry either */
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    if (!v)
        v = old;
    if (!v || !json_decode(q->a, (struct str){v->s, v->n}, &config, &ignored))
        return *hosts = S(""), false;
    val_each_member (m, v == old ? &config : val_get_str(&config, S("auths"))) {
        if (host_matches(m->name->s, registry))
            return true;
        strbuf_addf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(m->name->s));
    }
    *hosts = str_dup(q->a, strbuf_str(&b));
    return false;
}

static void say_credentials(struct question *q, const struct contained *c, struct str image, struct str registry,
                            struct str answer, struct finding *f)
{
    const struct val *refs = val_get(obj_spec(c->pod), N(imagePullSecrets));
    struct str name = val_text_at(val_item(refs, 0), N(name)), hosts = S(""), flag = why_ns_flag(q, c->pod->ns);
    struct str make = arena_fmt(q->a,
                                "kubectl create secret docker-registry " STR_FMT STR_FMT " --docker-server=" STR_FMT
                                " --docker-username=USER --docker-password=PASSWORD",
                                STR_ARG(name.n ? name : S("pull")), STR_ARG(flag), STR_ARG(registry));
    if (name.n == 0) {
        why_found(q, f, "PullSecretMissing",
                  "cannot pull " STR_FMT ": the registry " STR_FMT " wants credentials (" STR_FMT
                  "), and the pod names no imagePullSecrets",
                  STR_ARG(image), STR_ARG(registry), STR_ARG(answer));
        why_way(q, f,
                "Make a Secret: " STR_FMT "; and name it: " STR_FMT "imagePullSecrets: [{name: pull}], with " STR_FMT,
                STR_ARG(make), STR_ARG(why_spec_path(q)), STR_ARG(why_edit(q)));
        return;
    }
    const struct objset *secrets = q->v->sets[K(Secret)->id];
    const struct obj *secret = secrets ? objset_get(secrets, c->pod->ns, name) : NULL;
    why_chain(q, f, "imagePullSecrets: Secret " STR_FMT "%s", STR_ARG(name),
              secret    ? ""
              : secrets ? ": not there"
                        : ": may not be read");
    if (!secrets)
        why_found(q, f, "PullSecretRefused",
                  "cannot pull " STR_FMT ": the registry " STR_FMT " refuses what the Secret " STR_FMT
                  " of imagePullSecrets gives it, if it is there (" STR_FMT ")",
                  STR_ARG(image), STR_ARG(registry), STR_ARG(name), STR_ARG(answer));
    else if (!secret)
        why_found(q, f, "PullSecretMissing",
                  "cannot pull " STR_FMT ": the registry " STR_FMT " wants credentials, and the Secret " STR_FMT
                  " that imagePullSecrets names is not there",
                  STR_ARG(image), STR_ARG(registry), STR_ARG(name));
    else if (!secret_has(q, secret, registry, &hosts))
        why_found(q, f, "PullSecretOther",
                  "cannot pull " STR_FMT ": the Secret " STR_FMT
                  " that imagePullSecrets names has credentials for " STR_FMT " and none for the registry " STR_FMT,
                  STR_ARG(image), STR_ARG(name), STR_ARG(hosts.n ? hosts : S("nothing")), STR_ARG(registry));
    else
        why_found(q, f, "PullSecretRefused",
                  "cannot pull " STR_FMT ": the registry " STR_FMT " refuses the credentials in Secret " STR_FMT
                  " (" STR_FMT ")",
                  STR_ARG(image), STR_ARG(registry), STR_ARG(name), STR_ARG(answer));
    why_way(q, f, "%s: " STR_FMT, secret ? "Make that Secret anew (kubectl delete it first)" : "Make it",
            STR_ARG(make));
}

/* ---- answers ---- */

static const struct saying answers[] = {
    {"(404 manifest unknown", "ImageNotFound", "cannot pull {image}: the registry {registry} answered 404 {answer}",
     "Push it there, or set another image: {other}"},
    {"(404 name unknown", "RepositoryNotFound", "cannot pull {image}: the registry {registry} answered 404 {answer}",
     "Mend the image's name: {other}"},
    {": not found", "ImageNotFound", "cannot pull {image}: the registry {registry} does not have it (404)",
     "Push it, or set another image: {other}"},
    {"connection refused", "RegistryDown",
     "cannot pull {image}: nothing listens at the registry {registry} (connection refused)",
     "Start that registry, or set another image: {other}"},
    {"no such host", "RegistryUnknown", "cannot pull {image}: there is no host {registry} in the node's DNS",
     "Mend the image's name: {other}, or the node's /etc/resolv.conf"},
    {"i/o timeout", "RegistrySilent", "cannot pull {image}: the registry {registry} does not answer in time",
     "See whether the node reaches it: curl -v https://{registry}/v2/"},
    {"certificate", "RegistryUntrusted",
     "cannot pull {image}: the certificate of the registry {registry} is not trusted ({answer})",
     "Put its CA among the node's (update-ca-certificates), or name the registry in wherry up --set "
     "insecure-registries={registry}"},
    {": tls: ", "RegistryNoTls", "cannot pull {image}: the registry {registry} does not speak TLS ({answer})",
     "Give it a certificate, or name it in wherry up --set insecure-registries={registry}"},
    {"No space left on device", "DiskFull", "cannot pull {image}: the disk of node {node} is full",
     "Make room there: wherry image ls, wherry image rm IMAGE, df -h"},
    {"429", "RegistryLimits", "cannot pull {image}: the registry {registry} limits pulls ({answer})",
     "Wait, or pull with an account of your own (imagePullSecrets)"},
    {"", "ImagePull", "cannot pull {image}: {answer}", "Set another image: {other}"},
};

static const struct saying refusals[] = {
    {"InvalidImageName", "ImageName", "cannot read the image name {quoted} of its {about}: {answer}",
     "Mend it: {other}"},
    {"ErrImageNeverPull", "ImageNeverPulled",
     "may not pull {image}, as {never} is Never, and node {node} does not have it",
     "Load it there: wherry image load FILE, or set {spec}{policy} to IfNotPresent: {edit}"},
    {"", "", "", ""},
};

/* What stands last in the node's message: the answer itself. */
static struct str answer_of(struct str message)
{
    static const char *const heads[] = {
        "authorization failed: ", "(404 ", "tls: ", "failed to resolve image: ", "invalid reference format: ",
        "failed to do request: "};
    for (size_t i = 0; i < countof(heads); i++) {
        ptrdiff_t at = str_find(message, str_of(heads[i]));
        if (at < 0)
            continue;
        message = str_sub(message, (size_t)at + strlen(heads[i]), message.n);
        if (str_ends(message, S(")")) && i == 1)
            message.n--;
    }
    return message;
}

/* The image volume whose image the message names; NULL: it is about the container's own. */
static const struct val *volume_of(struct question *q, const struct contained *c, struct str message)
{
    if (str_has(message, why_quoted(q, val_text_at(c->spec, N(image)))))
        return NULL;
    val_each_item (v, val_get(obj_spec(c->pod), N(volumes))) {
        struct str reference = val_text_at(v, N(image), N(reference));
        if (reference.n && str_has(message, why_quoted(q, reference)))
            return v;
    }
    return NULL;
}

void why_image(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    const struct val *volume = volume_of(q, c, message);
    struct str image = volume ? val_text_at(volume, N(image), N(reference)) : val_text_at(c->spec, N(image));
    struct str rest, registry = registry_of(image, &rest), name = val_text_at(volume, N(name));
    struct str about = volume ? arena_fmt(q->a, "volume " STR_FMT, STR_ARG(name)) : c->about;
    struct str other = volume ? arena_fmt(q->a, STR_FMT "volumes{" STR_FMT "}.image.reference: " STR_FMT,
                                          STR_ARG(why_spec_path(q)), STR_ARG(name), STR_ARG(why_edit(q)))
                              : why_fill(q, "{setimage}", &(struct word){"container", c->name}, 1);
    struct str never = volume ? S("image.pullPolicy") : S("imagePullPolicy");
    struct str policy = arena_fmt(q->a, "%s " STR_FMT, volume ? "volumes" : "containers", STR_ARG(never));
    struct str reason = val_text_at(c->status, N(state), N(waiting), N(reason)), answer = answer_of(message);
    const struct word words[] = {{"image", image},           {"registry", registry},
                                 {"answer", answer},         {"container", c->name},
                                 {"node", pod_node(c->pod)}, {"about", about},
                                 {"other", other},           {"policy", policy},
                                 {"never", never},           {"quoted", why_quoted(q, image)}};
    if (str_eqz(reason, "InvalidImageName") || str_eqz(reason, "ErrImageNeverPull")) {
        why_saying(q, f, refusals, reason, words, countof(words));
        return;
    }
    why_chain(q, f, "image " STR_FMT ": registry " STR_FMT ": " STR_FMT, STR_ARG(image), STR_ARG(registry),
              STR_ARG(answer));
    if (str_has(message, S("pull access denied")) || str_has(message, S("failed to authorize")))
        say_credentials(q, c, image, registry, answer, f);
    else
        why_saying(q, f, answers, message, words, countof(words));
}
