/* devices.h - disks as the kernel shows them in /sys, and the links to them that udev makes below /dev/disk. `root`
 * stands before each path: "", but in tests. Small files of the kernel: for jobs. */
#pragma once
#include "base/array.h"
#include "base/err.h"
#include <limits.h>

struct device_name {
    char z[NAME_MAX + 1]; /* "sda", "dm-1" */
};
struct device_names {
    ARRAY(struct device_name) list;
};
/* Where a link, or a path of /dev itself, leads to. False: nowhere, or not to a device right below /dev. */
bool device_of(const char *root, const char *path, struct device_name *out);
/* The multipath device of which it is a part; itself, where it is one. False: none. */
bool device_multipath(const char *root, const struct device_name *device, struct device_name *out);
void device_parts(const char *root, const struct device_name *multipath, struct device_names *out);
/* Names of a folder, in the order of their bytes: the same every time. One that is not there has none. */
void device_list(const char *root, const char *folder, struct device_names *out);

/* The SCSI host that has a session with this target at this portal ("10.0.0.1:3260", "[fd00::1]:3260"); -1: none. */
int iscsi_host(const char *root, struct str iqn, struct str portal);
/* What a target's LUN is on this machine: a device for each session. */
void iscsi_devices(const char *root, struct str iqn, int lun, struct device_names *out);

/* Tells the host to look for "CHANNEL TARGET LUN". */
MUST_USE bool scsi_scan(const char *root, struct str host, const char *where, struct err *err);
/* The kernel forgets the device. One that is not there is forgotten already. */
MUST_USE bool scsi_forget(const char *root, const struct device_name *device, struct err *err);
