#include "cli/verbs.h"
#include "cli/supervisor.h"
#include <stddef.h>

const struct verb_row verb_rows[] = {
    {"up", "[--detach] [--root DIR]", "start this machine's part of the cluster", supervisor_main},
    {"down", "[--purge] [--root DIR]", "stop everything and leave nothing behind; --purge removes the state too",
     down_main},
    {"install", "", "let systemd run this machine's part, now and at every boot", install_main},
    {"uninstall", "[--purge]", "take that back", uninstall_main},
    {"image", "load|ls|rm|pack ...", "the images of this machine", image_main},
    {"get", "RESOURCE [NAME] [-A] [-o FORM] [-w]", "show objects", get_main},
    {"describe", "RESOURCE [NAME]", "what an object is, how it is, what happened", describe_main},
    {"why", "[KIND/NAME] [-A]", "why an object is not as declared, and the way out", why_main},
    {"apply", "-f FILE", "make the server hold what files say", apply_main},
    {"create", "KIND NAME | -f FILE", "make an object", create_main},
    {"delete", "RESOURCE NAME | -f FILE", "delete objects", delete_main},
    {"logs", "POD|RESOURCE/NAME [-f]", "what containers wrote", logs_main},
    {"exec", "POD|RESOURCE/NAME [-it] -- COMMAND", "run a command in a container", exec_main},
    {"rollout", "status|history|undo|restart|pause|resume deploy/NAME", "follow a change, go back", rollout_main},
    {"wait", "RESOURCE/NAME --for WHAT", "until it is as it should be", wait_main},
    {"scale", "RESOURCE/NAME --replicas N", "how many pods it keeps", scale_main},
    {"set", "image RESOURCE/NAME CONTAINER=IMAGE", "another image", set_main},
    {"label", "RESOURCE NAME KEY=VALUE|KEY-", "set labels", label_main},
    {"annotate", "RESOURCE NAME KEY=VALUE|KEY-", "set annotations", annotate_main},
    {"backup", "FILE", "every object of a running cluster, into a file", backup_main},
    {"restore", "FILE [--replace]", "a stopped cluster's objects, from such a file", restore_main},
    {"api-resources", "", "what the server has", api_resources_main},
    {"version", "", "of this program and of the server", version_main},
    {"completion", "bash", "for the shell", completion_main},
    {NULL, NULL, NULL, NULL},
};
