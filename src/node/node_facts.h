/* node_facts.h - what this machine is, as the Node object shows it (core/v1 NodeStatus). Reads /proc, /etc/os-release
 * and the file systems: blocking, short. */
#pragma once
#include "api/tree.h"

struct node_facts {
    struct str hostname, machine_id, system_uuid, boot_id, kernel, os_image, arch;
    int64_t cpus, memory_bytes, disk_bytes, huge_2m_bytes, huge_1g_bytes;
    int64_t pids; /* processes that the kernel has numbers and memory for */
};
/* Texts in the arena. disk: of the file system that holds `path`. What cannot be read is empty or 0. */
void node_facts_read(struct arena *a, const char *path, struct node_facts *out);
/* Two of them, again and again: bytes; processes that the kernel has numbers and memory for, 0: not known. */
int64_t node_memory(void);
int64_t node_pids(void);
