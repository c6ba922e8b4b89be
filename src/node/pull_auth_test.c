#include "node/pull_auth.h"
#include "node/test_world.h"

/* "USER:PASSWORD ..." of an image, of Secrets with these config.json (each in base64 by the caller's hand: here
 * plain, as bytes of the tree). */
static struct str credential_found(struct world *w, const char *const *configs, struct str registry,
                                   struct str repository)
{
    AUTO(pull_auths_fini) struct pull_auths x = {.arena = &w->arena};
    AUTO(strbuf_fini) struct strbuf b = STRBUF(STRBUF_TEXT);
    struct err err = ERR;
    size_t n;
    for (; *configs; configs++) {
        AUTO(strbuf_fini) struct strbuf yaml = STRBUF(STRBUF_TEXT);
        bool old = **configs == '!';
        strbuf_addf(&yaml, "metadata: {name: s, namespace: ns}\ndata: {.docker%s: ", old ? "cfg" : "configjson");
        strbuf_add_base64(&yaml, *configs + old, strlen(*configs + old));
        strbuf_addz(&yaml, "}");
        if (!pull_auths_add(&x, world_obj(w, K(Secret), yaml.p), &err))
            return str_dup(&w->arena, str_of(err.text));
    }
    struct pull_credential *c = pull_auths_for(&x, registry, repository, &n);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, "%s" STR_FMT ":" STR_FMT, i ? " " : "", STR_ARG(c[i].username), STR_ARG(c[i].password));
    return str_dup(&w->arena, strbuf_str(&b));
}

#define U(user) "{\"username\": \"" user "\", \"password\": \"p\"}"

TEST(pull_credentials_beside_a_bad_entry_are_there)
{
    struct world w = {0};
    AUTO(pull_auths_fini) struct pull_auths x = {.arena = &w.arena};
    AUTO(strbuf_fini) struct strbuf yaml = STRBUF(STRBUF_TEXT);
    static const char config[] = "{\"auths\": {\"a\": {\"auth\": \"!\"}, \"b\": {\"auth\": \"Yjpi\"}}}";
    struct err err = ERR;
    size_t n;
    strbuf_addz(&yaml, "metadata: {name: s, namespace: ns}\ndata: {.dockerconfigjson: ");
    strbuf_add_base64(&yaml, config, sizeof config - 1);
    strbuf_addz(&yaml, "}");
    CHECK(!pull_auths_add(&x, world_obj(&w, K(Secret), yaml.p), &err)); /* and it is told */
    struct pull_credential *c = pull_auths_for(&x, S("b"), S("x"), &n);
    CHECK_INT(n, 1);
    CHECK_STR(c[0].password, S("b"));
    world_end(&w);
}

TEST(pull_credentials_are_matched_as_a_kubelet_matches_them)
{
    static const struct {
        const char *configs[4], *registry, *repository, *want;
    } rows[] = {
        {{"{\"auths\": {\"reg:5000\": " U("a") "}}"}, "reg:5000", "team/app", "a:p"},
        {{"{\"auths\": {\"reg:5000\": " U("a") "}}"}, "reg:5001", "team/app", ""},
        {{"{\"auths\": {\"reg\": " U("a") "}}"}, "reg:5000", "team/app", ""},
        {{"{\"auths\": {\"https://reg/v2/\": " U("a") "}}"}, "reg", "x", "a:p"},
        {{"{\"auths\": {\"http://reg/v1/team\": " U("a") "}}"}, "reg", "team/x", "a:p"},
        {{"!{\"reg\": " U("a") "}"}, "reg", "x", "a:p"},
        {{"{\"auths\": {\"https://index.docker.io/v1/\": " U("hub") "}}"}, "docker.io", "library/nginx", "hub:p"},
        {{"{\"auths\": {\"index.docker.io\": " U("hub") ", \"docker.io\": " U("own") "}}"},
         "docker.io",
         "x/y",
         "own:p"},
        {{"{\"auths\": {\"docker.io/team\": " U("team") "}}"}, "docker.io", "team/y", "team:p"},
        {{"{\"auths\": {\"docker.io/team\": " U("team") "}}"}, "docker.io", "other/y", ""},
        {{"{\"auths\": {\"reg\": " U("all") ", \"reg/team\": " U("team") ", \"reg/team/app\": " U("app") "}}"},
         "reg",
         "team/app",
         "app:p team:p all:p"},
        {{"{\"auths\": {\"reg\": " U("one") "}}", "{\"auths\": {\"reg\": " U("two") ", \"reg/x\": " U("x") "}}"},
         "reg",
         "x",
         "x:p one:p two:p"},
        {{"{\"auths\": {\"*.example.com\": " U("glob") "}}"}, "eu.example.com", "x", "glob:p"},
        {{"{\"auths\": {\"*.example.com\": " U("glob") "}}"}, "a.eu.example.com", "x", ""},
        {{"{\"auths\": {\"*.*.example.com\": " U("glob") "}}"}, "a.eu.example.com", "x", "glob:p"},
        {{"{\"auths\": {\"r[eo]g:5000\": " U("glob") "}}"}, "rog:5000", "x", "glob:p"},
        {{"{\"auths\": {\"127.0.0.*:5000/team\": " U("glob") "}}"}, "127.0.0.1:5000", "team-b/x", "glob:p"},
        {{"{\"auths\": {\"*\": " U("glob") "}}"}, "reg.example.com", "x", ""}, /* one part is not three */
        {{"{\"auths\": {\"reg\": {\"auth\": \"cmlnaHQ6cmlnaHQ=\"}}}"}, "reg", "x", "right:right"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"cmlnaHQ6cmlnaHQ\"}}}"}, "reg", "x", "right:right"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"cmlnaH\\nQ6cmln\\r\\naHQ=\\n\"}}}"}, "reg", "x", "right:right"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"dTphOmI6Yw==\"}}}"}, "reg", "x", "u:a:b:c"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"cmlnaHQ6cmlnaHQ=\", \"username\": \"x\"}}}"},
         "reg",
         "x",
         "right:right"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"eDp4\", \"identitytoken\": \"idt\"}}}"}, "reg", "x", ":idt"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"!!!\"}}}"},
         "reg",
         "x",
         "unable to parse auth field, must be formatted as base64(username:password)"},
        {{"{\"auths\": {\"reg\": {\"auth\": \"bm9jb2xvbg==\"}}}"},
         "reg",
         "x",
         "unable to parse auth field, must be formatted as base64(username:password)"},
        {{"{\"auths\": {}}", "{}", "{\"auths\": []}"}, "reg", "x", ""},
    };
    for (size_t i = 0; i < countof(rows); i++) {
        struct world w = {0};
        CHECK_STR(credential_found(&w, rows[i].configs, str_of(rows[i].registry), str_of(rows[i].repository)),
                  str_of(rows[i].want));
        world_end(&w);
    }
}
