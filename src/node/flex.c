#include "node/flex.h"
#include "api/codec.h"
#include "base/fault.h"
#include "base/log.h"
#include "node/sources.h"
#include "sys/child.h"
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#define ARGS_MOST    6
#define OPTIONS_MOST (4 << 20)
#define DRIVER_MOST  (NAME_MAX - 1)

static struct str with_char(struct arena *a, struct str s, char from, char to)
{
    char *z = arena_strz(a, s);
    for (size_t i = 0; i < s.n; i++)
        z[i] = z[i] == from ? to : z[i];
    return (struct str){z, s.n};
}

struct str flex_escape(struct arena *a, struct str driver)
{
    return with_char(a, driver, '/', '~');
}

struct str flex_unescape(struct arena *a, struct str folder)
{
    return with_char(a, folder, '~', '/');
}

/* ---- what it answers */

/* A member by its name, whatever the case of its letters (as Go reads JSON). */
static const struct val *member_of(const struct val *v, const char *name)
{
    const struct val *found = NULL;
    size_t n = strlen(name);
    val_each_member (m, v)
        if (m->name->s.n == n && strncasecmp(m->name->s.p, name, n) == 0)
            found = &m->v;
    return found && found->type != VAL_NULL ? found : NULL;
}

static bool wrong_type(const char *name, const char *is, struct err *err)
{
    return err_set(err, E_INVALID, "json: cannot unmarshal the driver's answer: \"%s\" is not %s", name, is);
}

static bool text_read(const struct val *v, const char *name, struct str *out, struct err *err)
{
    const struct val *m = member_of(v, name);
    if (m && m->type != VAL_STRING)
        return wrong_type(name, "a string", err);
    *out = val_text(m);
    return true;
}

static bool bool_read(const struct val *v, const char *name, bool *out, struct err *err)
{
    const struct val *m = member_of(v, name);
    if (m && m->type != VAL_BOOL)
        return wrong_type(name, "a bool", err);
    *out = m ? val_true(m) : *out;
    return true;
}

static bool can_read(const struct val *v, struct flex_can *can, struct err *err)
{
    const struct val *m = member_of(v, "capabilities");
    *can = (struct flex_can){.attach = true, .relabel = true, .group = true, .resize = true};
    if (m && m->type != VAL_MAP)
        return wrong_type("capabilities", "an object", err);
    return bool_read(m, "attach", &can->attach, err) && bool_read(m, "selinuxRelabel", &can->relabel, err) &&
           bool_read(m, "supportsMetrics", &can->metrics, err) && bool_read(m, "fsGroup", &can->group, err) &&
           bool_read(m, "requiresFSResize", &can->resize, err);
}

static bool answer_decode(struct arena *a, struct str said, struct val *out, struct err *err)
{
    struct str text = str_trim(said);
    if (!text.n)
        return err_set(err, E_INVALID, "unexpected end of JSON input");
    if (text.p[0] != '{')
        return err_set(err, E_INVALID, "invalid character '%c' looking for beginning of value", text.p[0]);
    return json_decode(a, text, out, err);
}

bool flex_answer_read(struct arena *a, const char *command, struct str said, struct flex_answer *out, struct err *err)
{
    struct str status, message;
    struct val v;
    *out = (struct flex_answer){0};
    if (!answer_decode(a, said, &v, err) || !text_read(&v, "status", &status, err) ||
        !text_read(&v, "message", &message, err) || !text_read(&v, "device", &out->device, err) ||
        !bool_read(&v, "attached", &out->attached, err) || !can_read(&v, &out->can, err))
        return false;
    if (str_eqz(status, "Not supported"))
        return err_set(err, E_NOT_IMPLEMENTED, "Not supported");
    return str_eqz(status, "Success") ||
           err_set(err, E_IO, "%s command failed, status: " STR_FMT ", reason: " STR_FMT, command, STR_ARG(status),
                   STR_ARG(message));
}

/* ---- what it is told */

void flex_options_write(struct strbuf *b, const struct flex_options *o)
{
    AUTO(arena_fini) struct arena a = ARENA;
    struct val all = val_map();
#define PUT(key, text) val_set_str(&a, &all, S("kubernetes.io/" key), val_str(&a, (text)))
    PUT("fsType", val_text_at(o->source, N(fsType)));
    PUT("readwrite", o->read_only ? S("ro") : S("rw"));
    PUT("pvOrVolumeName", o->volume);
    if (o->pod) {
        PUT("pod.name", o->pod->name);
        PUT("pod.namespace", o->pod->ns);
        PUT("pod.uid", o->pod->uid);
        PUT("serviceAccount.name", val_text_at(obj_spec(o->pod), N(serviceAccountName)));
    }
    if (o->pod && o->fs_group >= 0)
        PUT("mounterArgs.FsGroup", arena_fmt(&a, "%lld", (long long)o->fs_group));
#undef PUT
    val_each_member (m, o->secrets) {
        AUTO(strbuf_fini) struct strbuf coded = STRBUF(OPTIONS_MOST);
        struct str bytes = source_bytes(&m->v);
        strbuf_add_base64(&coded, bytes.p, bytes.n);
        val_set_str(&a, &all, STR_JOIN(&a, S("kubernetes.io/secret/"), m->name->s), val_str(&a, strbuf_str(&coded)));
    }
    val_each_member (m, val_get(o->source, N(options)))
        val_set_str(&a, &all, m->name->s, val_str(&a, val_text(&m->v)));
    size_t n;
    const struct member **sorted = val_members_sorted(&a, &all, &n);
    struct val ordered = val_map();
    for (size_t i = 0; i < n; i++)
        val_set_str(&a, &ordered, sorted[i]->name->s, sorted[i]->v);
    json_encode(b, &ordered);
}

/* ---- calling it */

bool flex_program(struct arena *a, const char *folder, struct str driver, struct str *path)
{
    struct str name = str_sub(driver, (size_t)(str_rfind_char(driver, '/') + 1), driver.n);
    /* folders that begin with a dot are none's; neither is one whose name would read as another driver's */
    if (!name.n || driver.n > DRIVER_MOST || driver.p[0] == '.' || name.p[0] == '.' || str_has(driver, S("~")) ||
        memchr(driver.p, 0, driver.n))
        return false;
    *path = arena_fmt(a, "%s/" STR_FMT "/" STR_FMT, folder, STR_ARG(flex_escape(a, driver)), STR_ARG(name));
    return true;
}

bool flex_call(struct arena *a, struct str program, const char *command, const char *const *args,
               struct flex_answer *out, struct err *err)
{
    AUTO(strbuf_fini) struct strbuf said = STRBUF(FLEX_SAID_MOST);
    const char *argv[ARGS_MOST + 3] = {program.p, command};
    struct err ended = ERR, answer = ERR;
    for (size_t i = 0; args[i]; i++) {
        ASSERT(i < ARGS_MOST);
        argv[i + 2] = args[i];
    }
    fault_pass("node.flex.call");
    bool well = command_run(argv, S(""), &said, FLEX_CALL_MOST, &ended);
    fault_pass("node.flex.answer");
    if (!well && (ended.sys || ended.kind == E_TIMEOUT)) /* it did not run, or not to its end */
        return err_set(err, ended.sys == ENOENT ? E_NOT_FOUND : ended.kind, "%s",
                       ended.kind == E_TIMEOUT ? "timeout" : ended.text);
    if (said.over)
        return err_set(err, E_TOO_LARGE, "%s command printed more than %d KiB", command, FLEX_SAID_MOST >> 10);
    if (flex_answer_read(a, command, strbuf_str(&said), out, &answer)) {
        if (well)
            return true;
        *err = ended; /* it says Success, and ends as if it had failed */
        return false;
    }
    if (answer.kind == E_INVALID) /* arguments may hold secrets: they are not logged */
        log_warn("flex.answer", "driver=" STR_FMT " command=%s error=\"%s\"", STR_ARG(program), command, answer.text);
    *err = answer;
    return false;
}
