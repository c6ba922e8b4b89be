/* validate_probe.c - the probes and hooks of a container. */
#include "api/rules_int.h"

static void check_target_port(ERRS, const struct val *port)
{
    if (val_is(port, VAL_STRING))
        check_format(e, at, val_text(port), format_port_name);
    else
        check_port(e, at, val_num(port, 0));
}

static size_t check_handler(ERRS, const struct val *h, int64_t grace)
{
    size_t n = 0;
#define ANOTHER(field)                                                                                               \
    (HAS(h, field) &&                                                                                                \
     (++n == 1 || (bad_forbidden(e, AT(at, #field), "may not specify more than 1 handler type"), false)))
    if (ANOTHER(exec) && val_len(V(V(h, exec), command)) == 0)
        bad_required(e, AT(AT(at, "exec"), "command"), "");
    if (ANOTHER(httpGet)) {
        const struct at *here = AT(at, "httpGet");
        const struct val *get = V(h, httpGet);
        REQUIRED(e, here, get, path);
        check_target_port(e, AT(here, "port"), V(get, port));
        check_enum(e, AT(here, "scheme"), TEXT(get, scheme), "HTTP", "HTTPS");
        each (header, V(get, httpHeaders))
            check_format(e, AT(here, "httpHeaders"), TEXT(header, name), format_http_header);
    }
    if (ANOTHER(tcpSocket))
        check_target_port(e, AT(AT(at, "tcpSocket"), "port"), V(V(h, tcpSocket), port));
    if (ANOTHER(grpc))
        check_port(e, AT(AT(at, "grpc"), "port"), NUM(V(h, grpc), port));
    if (ANOTHER(sleep)) {
        int64_t seconds = NUM(V(h, sleep), seconds);
        if (seconds < 0 || seconds > grace)
            bad_num(e, AT(at, "sleep"), seconds,
                    "must be non-negative and less than terminationGracePeriodSeconds (%lld)", (long long)grace);
    }
#undef ANOTHER
    if (n == 0)
        bad_required(e, at, "must specify a handler type");
    return n;
}

static void check_probe(ERRS, const struct val *probe, int64_t grace)
{
    if (!is_set(probe))
        return;
    check_handler(e, at, probe, grace);
    NOT_NEGATIVE(e, at, probe, initialDelaySeconds);
    NOT_NEGATIVE(e, at, probe, timeoutSeconds);
    NOT_NEGATIVE(e, at, probe, periodSeconds);
    NOT_NEGATIVE(e, at, probe, successThreshold);
    NOT_NEGATIVE(e, at, probe, failureThreshold);
    if (HAS(probe, terminationGracePeriodSeconds) && NUM(probe, terminationGracePeriodSeconds) <= 0)
        bad_num(e, AT(at, "terminationGracePeriodSeconds"), NUM(probe, terminationGracePeriodSeconds),
                "must be greater than 0");
}

void check_probes(ERRS, const struct val *c, int64_t grace)
{
    const struct val *liveness = V(c, livenessProbe), *readiness = V(c, readinessProbe),
                     *startup = V(c, startupProbe);
    check_probe(e, AT(at, "livenessProbe"), liveness, grace);
    if (is_set(liveness) && NUM(liveness, successThreshold) != 1)
        bad_num(e, AT(AT(at, "livenessProbe"), "successThreshold"), NUM(liveness, successThreshold), "must be 1");
    check_probe(e, AT(at, "readinessProbe"), readiness, grace);
    if (HAS(readiness, terminationGracePeriodSeconds))
        bad_num(e, AT(AT(at, "readinessProbe"), "terminationGracePeriodSeconds"),
                NUM(readiness, terminationGracePeriodSeconds), "must not be set for readinessProbes");
    check_probe(e, AT(at, "startupProbe"), startup, grace);
    if (is_set(startup) && NUM(startup, successThreshold) != 1)
        bad_num(e, AT(AT(at, "startupProbe"), "successThreshold"), NUM(startup, successThreshold), "must be 1");
}

void check_lifecycle(ERRS, const struct val *life, int64_t grace, const struct val *os)
{
    if (HAS(life, postStart))
        check_handler(e, AT(at, "postStart"), V(life, postStart), grace);
    if (HAS(life, preStop))
        check_handler(e, AT(at, "preStop"), V(life, preStop), grace);
    if (HAS(life, stopSignal)) {
        if (!is_set(os))
            bad_forbidden(e, AT(at, "stopSignal"), "may not be set for containers with empty `spec.os.name`");
        else if (!str_starts(TEXT(life, stopSignal), S("SIG")))
            bad_enum(
                e, AT(at, "stopSignal"), TEXT(life, stopSignal),
                SET("SIGABRT", "SIGALRM", "SIGHUP", "SIGINT", "SIGKILL", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"));
    }
}
