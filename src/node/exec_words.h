/* exec_words.h - why a command could not be started in a container, in runc's words: people and tools look for them
 * ("executable file not found in $PATH", "permission denied"), while crun's do not tell what is wrong with a path.
 * Pure, but for exec_look. */
#pragma once
#include "base/mem.h"
#include "base/str.h"

enum exec_seen { SEEN_UNKNOWN, SEEN_NOTHING, SEEN_FOLDER, SEEN_FILE };
/* What an absolute path of a command is in the container of this process. Reads its root, no mount below it: in a
 * job. */
enum exec_seen exec_look(int pid, const char *path);
/* said: the runtime's sentence. command: its first word. */
struct str exec_words(struct arena *a, struct str said, struct str command, enum exec_seen seen);
/* The same for a container's own command. What is wrong with something else (a folder, a user) stays as it was said.
 */
struct str start_words(struct arena *a, struct str said, struct str command);
