/* csi_records.h - where volumes of CSI drivers are on this node, in a kubelet's own folders, and what stands there to
 * tell the next node role of them. A record is on disk before a driver is asked for what it stands for, and goes
 * after the driver has undone it. Blocking: for jobs. */
#pragma once
#include "base/array.h"
#include "base/err.h"

/* One volume for one pod (uid not empty), or made ready for all of them (staged). Texts in an arena. */
struct csi_record {
    struct str driver, handle, spec; /* spec: the PersistentVolume (a name that is made up may hold a '/', for which
                                        a folder has '~'), or (ephemeral) the pod's volume */
    struct str uid;
    struct str node, attachment;
    bool ephemeral, block;
    /* Of a disk that the node attaches itself (disk.h), or of a FlexVolume: its source as JSON. Of a disk: where it
     * is below its plugin's folder. Both empty: a driver's. */
    struct str source, place;
    bool
        flex; /* a FlexVolume: `driver` is the name of its folder ("vendor~driver"); two of a name differ by source */
};
struct csi_places {
    struct str folder; /* of the record */
    struct str file;   /* the record itself: JSON, or a link to the target */
    struct str target; /* what the driver is asked to mount at: staging_target_path or target_path */
    struct str link;   /* that leads to the target, where a kubelet has one besides the record; empty: none */
};
struct csi_places csi_places(struct arena *a, const char *kubelet, const struct csi_record *r);
/* The record, and the folder above the target; a staging target itself. */
MUST_USE bool csi_record_make(const struct csi_places *p, const struct csi_record *r, struct err *err);
/* After the driver has unmounted it: what is left of the target and the record. What is still mounted there is taken
 * off first, so that nothing of its content is ever removed. */
MUST_USE bool csi_record_remove(const struct csi_places *p, struct err *err);

struct csi_records {
    ARRAY(struct csi_record) list;
};
/* All of them. What cannot be read is told in the log and left alone. */
void csi_records_find(struct arena *a, const char *kubelet, struct csi_records *out);
/* Its names can be those of folders. */
bool csi_record_is_named(const struct csi_record *r);
/* The places of disks of which there is a record below KUBELET/plugins/kubernetes.io/TYPE, those of devices with
 * "volumeDevices/" before them. */
struct str_list {
    ARRAY(struct str) list;
};
void csi_records_places(struct arena *a, struct str folder, struct str_list *out);
/* Pure, for the fuzz target: what a record says. */
MUST_USE bool csi_record_read(struct arena *a, struct str text, struct csi_record *out, struct err *err);
void csi_record_write(struct strbuf *b, const struct csi_record *r);
