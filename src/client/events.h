/* events.h - the recorder: what happened to an object, told as Events. Repeats are aggregated: the same event again
 * raises `count` (old style, core/v1) or `series.count` (new style, eventTime set) of the first one instead of
 * making another. Fire and forget: what is told of one object is written in that order; where the server does not
 * answer it is tried 12 times, over a minute and a half, then dropped with a debug line, as is at once what the
 * server refuses. At most 1000 wait. Belongs to the loop of its transport. */
#pragma once
#include "client/transport.h"

struct events;

struct events *events_new(struct transport *t, const char *component, const char *instance);
void events_free(struct events *e); /* drops what waits; NULL is fine */
AUTO_POINTER(events_free, struct events);
/* type "Normal" or "Warning". action NULL: old style (source.component, host = instance where component is
 * "kubelet"); else new style with that action. field_path: "spec.containers{c}" or "". */
void events_record(struct events *e, const struct obj *about, struct str field_path, const char *type,
                   const char *reason, const char *action, struct str message);
/* New style alone: `related` is the object for whose sake it happened. */
void events_record_related(struct events *e, const struct obj *about, const struct obj *related, const char *type,
                           const char *reason, const char *action, struct str message);
bool events_idle(const struct events *e); /* all is written */
