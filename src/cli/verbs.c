#include "cli/verbs.h"
#include "cli/supervisor.h"
#include <stddef.h>

const struct verb_row verb_rows[] = {
    {"up", "[--detach] [--root DIR]", "start this machine's part of a cluster", supervisor_main},
    {"down", "[--purge] [--root DIR]", "stop all of it and clean up", down_main},
    {"install", "", "let systemd run it, now and at every boot", install_main},
    {"uninstall", "[--purge]", "undo that", uninstall_main},
    {"image", "load|ls|rm|pack ...", "manage the images of this machine", image_main},
    {"volume", "ls [-o wide|json]", "list the volumes that were made for claims here", volume_main},
    {"get", "RESOURCE [NAME] [-A] [-o FORM] [-w]", "show objects", get_main},
    {"describe", "RESOURCE [NAME]", "tell what an object is and what happened", describe_main},
    {"why", "[KIND/NAME] [-A]", "say why an object is not as declared", why_main},
    {"apply", "-f FILE", "make the server hold what files say", apply_main},
    {"create", "KIND NAME | -f FILE", "create objects", create_main},
    {"delete", "RESOURCE NAME | -f FILE", "delete objects", delete_main},
    {"logs", "POD|RESOURCE/NAME [-f]", "print what containers wrote", logs_main},
    {"exec", "POD|RESOURCE/NAME [-it] -- COMMAND", "run a command in a container", exec_main},
    {"rollout", "status|history|undo|restart|pause|resume RESOURCE/NAME", "follow a change, or go back",
     rollout_main},
    {"wait", "RESOURCE/NAME --for WHAT", "wait until an object is as it should be", wait_main},
    {"scale", "RESOURCE/NAME --replicas N", "set how many pods there are", scale_main},
    {"set", "image RESOURCE/NAME CONTAINER=IMAGE", "set the image of a container", set_main},
    {"label", "RESOURCE NAME KEY=VALUE|KEY-", "set or remove labels", label_main},
    {"annotate", "RESOURCE NAME KEY=VALUE|KEY-", "set or remove annotations", annotate_main},
    {"backup", "FILE", "write every object of a cluster to a file", backup_main},
    {"restore", "FILE [--replace]", "make a stopped cluster from such a file", restore_main},
    {"api-resources", "", "list what the server has", api_resources_main},
    {"version", "", "print the versions of program and server", version_main},
    {"completion", "bash", "print what the shell needs to complete", completion_main},
    {NULL, NULL, NULL, NULL},
};
