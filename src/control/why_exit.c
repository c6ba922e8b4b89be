/* How a container ended: what the kernel did to it, what its exit code means, and what its last line says. */
#include "control/why_int.h"

/* ---- names that do not resolve ---- */

/* The name in "bad address 'db:5432'", "lookup db on 10.43.0.10:53", "Could not resolve host: db". */
static struct str name_in(struct str line)
{
    static const char *const heads[] = {"bad address '",   "lookup ",
                                        "resolve host: ",  "resolve host '",
                                        "can't resolve '", "translate host name \"",
                                        "ENOTFOUND ",      "host not found in upstream \"",
                                        "EAI_AGAIN "};
    for (size_t i = 0; i < countof(heads); i++) {
        ptrdiff_t at = str_find(line, str_of(heads[i]));
        if (at < 0)
            continue;
        struct str name = str_sub(line, (size_t)at + strlen(heads[i]), line.n);
        size_t n = 0;
        while (n < name.n && (name.p[n] == '-' || name.p[n] == '.' || (name.p[n] >= '0' && name.p[n] <= '9') ||
                              (name.p[n] >= 'a' && name.p[n] <= 'z') || (name.p[n] >= 'A' && name.p[n] <= 'Z')))
            n++;
        return str_sub(name, 0, n);
    }
    return S("");
}

static const char *const name_signs[] = {"bad address",
                                         "no such host",
                                         "Name or service not known",
                                         "Temporary failure in name resolution",
                                         "resolve host",
                                         "NXDOMAIN",
                                         "can't resolve",
                                         "ENOTFOUND",
                                         "EAI_AGAIN",
                                         "translate host name",
                                         "host not found",
                                         "nodename nor servname"};

static bool says_no_name(struct str line)
{
    for (size_t i = 0; i < countof(name_signs); i++)
        if (str_has(line, str_of(name_signs[i])))
            return true;
    return false;
}

/* Looks for the Service that was meant. */
static void say_name(struct question *q, const struct contained *c, struct str exit, struct str line,
                     struct finding *f)
{
    struct str name = name_in(line), service, rest, ns = c->pod->ns, there = S("");
    (void)str_split(name, '.', &service, &rest);
    bool outside = rest.n > 0 && str_find_char(rest, '.') >= 0 && !str_has(rest, S(".svc"));
    if (rest.n > 0 && !outside)
        (void)str_split(rest, '.', &ns, &rest);
    struct nearest near = {.wanted = service};
    struct obj *svc;
    for (struct objset_iter it = view_all(q->v, K(Service)); !outside && (svc = objset_next(&it));) {
        if (str_eq(svc->ns, ns))
            nearest_try(&near, svc->name);
        if (str_eq(svc->name, service) && !str_eq(svc->ns, ns) && there.n == 0)
            there = arena_fmt(q->a, STR_FMT "." STR_FMT, STR_ARG(service), STR_ARG(svc->ns));
    }
    if (near.best.n > 0)
        there = near.best;
    if (name.n == 0 || outside)
        why_found(q, f, "NameUnknown", STR_FMT ", as a name does not resolve (" STR_FMT ")", STR_ARG(exit),
                  STR_ARG(why_quoted(q, line)));
    else
        why_found(q, f, "NameUnknown",
                  STR_FMT ", as the name " STR_FMT " does not resolve: namespace " STR_FMT " has no Service " STR_FMT
                          "%s" STR_FMT "%s",
                  STR_ARG(exit), STR_ARG(name), STR_ARG(ns), STR_ARG(service), there.n ? " (there is " : "",
                  STR_ARG(there), there.n ? ")" : "");
    if (name.n == 0 || outside) {
        why_way(q, f, "Mend the name, or see whether the node resolves it (its /etc/resolv.conf)");
        return;
    }
    why_chain(q, f, "DNS: " STR_FMT ": no Service " STR_FMT " in namespace " STR_FMT, STR_ARG(name), STR_ARG(service),
              STR_ARG(ns));
    why_way(q, f, "Create that Service, or mend the name where the container gets it: " STR_FMT,
            STR_ARG(why_edit(q)));
}

/* ---- last lines ---- */

static const struct saying lines[] = {
    {"Read-only file system", "ReadOnlyFileSystem",
     "{exit}, as the file system that it writes to is read-only ({line})",
     "Mount an emptyDir where it writes, or leave readOnlyRootFilesystem out of its securityContext: {edit}"},
    {"No space left on device", "DiskFull", "{exit}, as a volume or disk that it writes to is full ({line})",
     "Make room, or raise the volume's sizeLimit: {edit}"},
    {"bind: Permission denied", "PortDenied", "{exit}, as {user} may not listen on that port ({line})",
     "Listen on a port above 1023, or add the capability NET_BIND_SERVICE: {edit}"},
    {"ermission denied", "PermissionDenied", "{exit}, as {user} lacks a permission ({line})",
     "Give the path to that user (fsGroup, an emptyDir), or run as another (securityContext.runAsUser): {edit}"},
    {"Operation not permitted", "PermissionDenied", "{exit}, as {user} lacks a permission ({line})",
     "Add the capability that it needs to its securityContext: {edit}"},
    {"ddress already in use", "PortTaken", "{exit}, as its port is taken in the pod ({line})",
     "Let each container of the pod listen on a port of its own: {edit}"},
    {"ddress in use", "PortTaken", "{exit}, as its port is taken in the pod ({line})",
     "Let each container of the pod listen on a port of its own: {edit}"},
    {"onnection refused", "PeerDown", "{exit}, as nothing listens where it connects to ({line})",
     "See whether that runs: wherry why -n {namespace}"},
    {"", "CrashLoop", "{exit}; its last line was {line}",
     "Mend what it complains of; more of it: kubectl logs {pod} -c {container}{previous}"},
};

static struct str last_line(struct question *q, const struct contained *c, const struct val *ended, bool previous)
{
    struct str text = str_trim(val_text_at(ended, N(message)));
    if (text.n == 0 && q->ask->last_line)
        text = str_trim(q->ask->last_line(q->ask->arg, c->pod, c->name, previous));
    ptrdiff_t at = str_rfind_char(text, '\n');
    return str_trim(at >= 0 ? str_sub(text, (size_t)at + 1, text.n) : text);
}

static struct str user_of(struct question *q, const struct contained *c)
{
    const struct val *u = val_at(c->spec, N(securityContext), N(runAsUser));
    if (!u)
        u = val_at(obj_spec(c->pod), N(securityContext), N(runAsUser));
    if (!u)
        u = val_at(c->status, N(user), N(linux), N(uid));
    return u ? arena_fmt(q->a, "user %lld", (long long)val_num(u, 0)) : S("its user");
}

static void say_line(struct question *q, const struct contained *c, struct str exit, struct str line, bool previous,
                     struct finding *f)
{
    const struct word words[] = {
        {"exit", exit},
        {"line", why_quoted(q, line)},
        {"user", user_of(q, c)},
        {"namespace", c->pod->ns},
        {"container", c->name},
        {"previous", previous ? S(" --previous") : S("")},
        {"pod", arena_fmt(q->a, STR_FMT STR_FMT, STR_ARG(c->pod->name), STR_ARG(why_ns_flag(q, c->pod->ns)))}};
    why_chain(q, f, "last line: " STR_FMT, STR_ARG(why_quoted(q, line)));
    if (says_no_name(line))
        say_name(q, c, exit, line, f);
    else
        why_saying(q, f, lines, line, words, countof(words));
}

/* ---- exit codes ---- */

static const struct {
    int code;
    const char *means;
} codes[] = {{126, "the command cannot be executed"},
             {127, "the command was not found"},
             {132, "SIGILL"},
             {134, "SIGABRT: it gave up on itself"},
             {135, "SIGBUS"},
             {136, "SIGFPE"},
             {137, "SIGKILL"},
             {139, "SIGSEGV: it crashed"},
             {143, "SIGTERM"}};

static struct str code_text(struct question *q, int64_t code)
{
    for (size_t i = 0; i < countof(codes); i++)
        if (codes[i].code == code)
            return arena_fmt(q->a, "%lld (%s)", (long long)code, codes[i].means);
    return arena_fmt(q->a, "%lld", (long long)code);
}

static const struct saying starts[] = {
    {"executable file not found", "CommandMissing",
     "cannot start its {about}: image {image} has no program {program}", "Mend its command: {edit}"},
    {": no such file or directory", "CommandMissing",
     "cannot start its {about}: image {image} has no program {program}", "Mend its command: {edit}"},
    {": permission denied", "CommandDenied",
     "cannot start its {about}: {program} of image {image} is a folder, or may not be executed",
     "Mend its command: {edit}"},
    {"exec format error", "OtherMachine",
     "cannot start its {about}: image {image} is made for another kind of machine",
     "Use an image for this one (amd64): {setimage}"},
    {"Exec format error", "OtherMachine",
     "cannot start its {about}: image {image} is made for another kind of machine",
     "Use an image for this one (amd64): {setimage}"},
    {"chdir", "WorkDir", "cannot start its {about} in its workingDir {workdir}: {message}",
     "Mend workingDir: {edit}"},
    {"", "StartFailed", "cannot start its {about}: {message}", "Mend its command, user or mounts: {edit}"},
};

static void say_start(struct question *q, const struct contained *c, struct str message, struct finding *f)
{
    struct str begin = S("exec: \""), program = S("");
    ptrdiff_t at = str_find(message, begin);
    if (at >= 0) {
        program = str_sub(message, (size_t)at + begin.n, message.n);
        at = str_find_char(program, '"');
        program = at < 0 ? program : str_sub(program, 0, (size_t)at);
    }
    if (str_starts(message, S("starting the container: ")))
        message = str_sub(message, 24, message.n);
    ptrdiff_t last = str_find(message, S("`: "));
    const struct word words[] = {{"about", c->about},
                                 {"image", val_text_at(c->spec, N(image))},
                                 {"program", program},
                                 {"container", c->name},
                                 {"workdir", val_text_at(c->spec, N(workingDir))},
                                 {"message", last >= 0 ? str_sub(message, (size_t)last + 3, message.n) : message}};
    why_saying(q, f, starts, message, words, countof(words));
}

static void say_oom(struct question *q, const struct contained *c, struct finding *f)
{
    struct str limit = val_text(val_get_str(val_at(c->spec, N(resources), N(limits)), S("memory")));
    if (limit.n == 0) {
        why_found(q, f, "OutOfMemory",
                  "cannot keep its " STR_FMT " running: it is killed as the node has no memory left",
                  STR_ARG(c->about));
        why_way(q, f, "Give it a limit that it keeps (resources.limits.memory), or run less on that node");
        return;
    }
    why_found(q, f, "OutOfMemory",
              "cannot keep its " STR_FMT " running: it is killed when it uses more memory than its "
              "limit of " STR_FMT,
              STR_ARG(c->about), STR_ARG(limit));
    struct str how = why_edit(q);
    if (!why_is_fixed(q))
        how = arena_fmt(q->a, "kubectl set resources " STR_FMT " -c " STR_FMT " --limits=memory=MORE",
                        STR_ARG(why_target(q, q->owner)), STR_ARG(c->name));
    why_way(q, f, "Raise the limit: " STR_FMT ", or let it use less", STR_ARG(how));
}

void why_exit(struct question *q, const struct contained *c, const struct val *ended, struct finding *f)
{
    int64_t code = val_num_at(ended, 0, N(exitCode));
    struct str reason = val_text_at(ended, N(reason));
    bool previous = !val_at(c->status, N(state), N(terminated)), over = pod_is_over(c->pod);
    if (str_eqz(reason, "StartError")) {
        say_start(q, c, val_text_at(ended, N(message)), f);
        return;
    }
    if (str_eqz(reason, "OOMKilled")) {
        say_oom(q, c, f);
        return;
    }
    struct str exit = arena_fmt(q->a,
                                over ? "has failed: its " STR_FMT " exited with code " STR_FMT
                                     : "cannot keep its " STR_FMT " running: it exits with code " STR_FMT,
                                STR_ARG(c->about), STR_ARG(code_text(q, code)));
    struct str line = last_line(q, c, ended, previous);
    if (code == 0) {
        why_found(q, f, "EndsWell",
                  "cannot keep its " STR_FMT " running: it ends by itself with exit code 0, and a pod with "
                  "restartPolicy Always is to run on",
                  STR_ARG(c->about));
        why_way(q, f, "Give it a command that runs on: " STR_FMT ", or make it a pod with restartPolicy OnFailure",
                STR_ARG(why_edit(q)));
    } else if (line.n > 0) {
        say_line(q, c, exit, line, previous, f);
    } else {
        why_found(q, f, "CrashLoop", STR_FMT ", and wrote nothing", STR_ARG(exit));
        why_way(q, f, "Try its command by hand: kubectl debug " STR_FMT STR_FMT " -it --image=IMAGE",
                STR_ARG(c->pod->name), STR_ARG(why_ns_flag(q, c->pod->ns)));
    }
}
