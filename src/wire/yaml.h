/* yaml.h - YAML, as sigs.k8s.io/yaml reads it: a document becomes JSON text (keys sorted), and everything else is
 * said about JSON. YAML 1.1 scalars (yes, on, 0777, 0x1f, .inf), anchors, merge keys; over libyaml. Pure. */
#pragma once
#include "base/err.h"

#define YAML_MAX_DEPTH 10000 /* levels */
/* Values times the levels around each: the scanner looks at every open level for every token, so that a small text
 * could keep a thread busy for minutes. Some 0.05 s; no document that means something comes near. */
#define YAML_MAX_WORK       (5u << 20)
#define YAML_MAX_EMPTY      1000   /* documents behind the one that is taken */
#define YAML_MAX_NODES      300000 /* of a document in a file: keys, values, aliases */
#define YAML_MAX_BODY_NODES 150000 /* of the one document of yaml_to_json, for which a loop waits: some 0.06 s */

/* What strict readers refuse: `note` is called for each key that stands twice ("line 5: key \"a\" already set in
 * map"). May be NULL. */
struct yaml_notes {
    void (*note)(void *arg, struct str text);
    void *arg;
};

/* Documents one after the other. The text must live as long. */
struct yaml_reader;
/* UTF-8, or UTF-16 with a byte order mark; that of UTF-8 is passed over. */
struct yaml_reader *yaml_open(struct str text, const struct yaml_notes *notes);
void yaml_close(struct yaml_reader *r);
AUTO_POINTER(yaml_close, struct yaml_reader);
/* The next document as JSON, added to `json`. 1: there was one, 0: the end, -1: bad (E_BAD_REQUEST, "yaml: line 3:
 * ..."; what is written is undefined). More aliases than content is refused. */
MUST_USE int yaml_next(struct yaml_reader *r, struct strbuf *json, struct err *err);
/* The one document, of YAML_MAX_BODY_NODES; an empty text is null. Another one behind it, unless it is empty, is
 * refused. */
MUST_USE bool yaml_to_json(struct str text, const struct yaml_notes *notes, struct strbuf *json, struct err *err);

/* Checked JSON as YAML: block style, keys sorted, a line end last. */
void yaml_add(struct strbuf *b, struct str checked_json);
