#include "base/log.h"
#include "cli/verb.h"
#include "server/server.h"
#include <getopt.h>
#include <signal.h>

static const struct option options[] = {
    {"root", required_argument, NULL, 'r'},
    {"listen", required_argument, NULL, 'l'},
    {"memory", no_argument, NULL, 'm'},
    {"advertise", required_argument, NULL, 'a'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "usage: wherry server [--root DIR] [--listen ADDRESS:PORT] [--advertise ADDRESS] [--memory]\n\n"
    "Runs the API server in the foreground, as any user. State, keys and the kubeconfig\n"
    "(DIR/etc/wherry/admin.kubeconfig) are below DIR.\n\n"
    "  --root DIR       instead of /\n"
    "  --listen A:P     where to listen; port 0 takes a free one. Default 0.0.0.0:6443\n"
    "  --advertise A    the address by which pods reach the server\n"
    "  --memory         keep objects in memory only\n"
    "  --verbose        log more\n";

struct role {
    struct loop *loop;
    struct signal_source term, interrupt;
};

static void stop_term(struct signal_source *s, int signo)
{
    (void)signo;
    loop_stop(container_of(s, struct role, term)->loop);
}

static void stop_interrupt(struct signal_source *s, int signo)
{
    (void)signo;
    loop_stop(container_of(s, struct role, interrupt)->loop);
}

static int failed(const struct err *err)
{
    fprintf(stderr, "wherry server: %s\n", err->text);
    return 1;
}

int server_main(int argc, char **argv)
{
    struct server_options o = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (c) {
        case 'r': o.root = optarg; break;
        case 'l': o.listen = optarg; break;
        case 'a': o.advertise = optarg; break;
        case 'm': o.memory = true; break;
        case 'v': log_level_set(LOG_DEBUG); break;
        case 'h': fputs(help, stdout); return 0;
        default: fputs(help, stderr); return 2;
        }
    }
    log_role_set("server");
    struct err err = ERR;
    struct role r = {.loop = loop_new(&err)};
    if (!r.loop)
        return failed(&err);
    struct server *s = server_start(r.loop, &o, &err);
    if (!s)
        return failed(&err);
    if (!signal_start(&r.term, r.loop, SIGTERM, stop_term, &err) ||
        !signal_start(&r.interrupt, r.loop, SIGINT, stop_interrupt, &err))
        return failed(&err);
    log_info("server.started", "port=%d kubeconfig=%s", server_port(s), server_kubeconfig(s));
    loop_run(r.loop);
    server_stop(s);
    signal_stop(&r.term);
    signal_stop(&r.interrupt);
    loop_free(r.loop);
    return 0;
}
