/* validate_security.c - security contexts of containers and pods: ids, profiles, options of Windows. */
#include "api/rules_int.h"

#define ID_MAX 2147483647

void check_seccomp(ERRS, const struct val *profile)
{
    if (!is_set(profile))
        return;
    struct str type = TEXT(profile, type);
    if (type.n == 0) {
        bad_required(e, AT(at, "type"), "type is required when seccompProfile is set");
    } else if (str_eq(type, S("Localhost"))) {
        if (!HAS(profile, localhostProfile))
            bad_required(e, AT(at, "localhostProfile"), "must be set when seccomp type is Localhost");
        else
            check_local_path(e, AT(at, "localhostProfile"), TEXT(profile, localhostProfile));
    } else {
        if (HAS(profile, localhostProfile))
            bad_struct(e, AT(at, "localhostProfile"), T(core_v1_SeccompProfile), profile,
                       "can only be set when seccomp type is Localhost");
        check_enum(e, AT(at, "type"), type, "Localhost", "RuntimeDefault", "Unconfined");
    }
}

void check_apparmor(ERRS, const struct val *profile)
{
    if (!is_set(profile))
        return;
    struct str type = TEXT(profile, type), local = TEXT(profile, localhostProfile);
    if (str_eq(type, S("Localhost"))) {
        if (!HAS(profile, localhostProfile))
            bad_required(e, AT(at, "localhostProfile"), "must be set when AppArmor type is Localhost");
        else if (str_trim(local).n == 0)
            bad_required(e, AT(at, "localhostProfile"), "must be set when AppArmor type is Localhost");
        else if (str_trim(local).n != local.n)
            bad_text(e, AT(at, "localhostProfile"), local, "must not be padded with whitespace");
        else if (local.n > 4095)
            bad_too_long(e, AT(at, "localhostProfile"), 4095);
        return;
    }
    if (HAS(profile, localhostProfile))
        bad_text(e, AT(at, "localhostProfile"), local, "can only be set when AppArmor type is Localhost");
    if (type.n == 0)
        bad_required(e, AT(at, "type"), "type is required when appArmorProfile is set");
    else
        check_enum(e, AT(at, "type"), type, "Localhost", "RuntimeDefault", "Unconfined");
}

void check_windows_options(ERRS, const struct val *options)
{
    struct str user = TEXT(options, runAsUserName), spec = TEXT(options, gmsaCredentialSpecName);
    if (HAS(options, gmsaCredentialSpecName))
        check_format(e, AT(at, "gmsaCredentialSpecName"), spec, format_dns1123_subdomain);
    if (HAS(options, gmsaCredentialSpec)) {
        if (TEXT(options, gmsaCredentialSpec).n == 0)
            bad_text(e, AT(at, "gmsaCredentialSpec"), S(""), "gmsaCredentialSpec cannot be an empty string");
        else if (TEXT(options, gmsaCredentialSpec).n > 65536)
            bad_text(e, AT(at, "gmsaCredentialSpec"), TEXT(options, gmsaCredentialSpec),
                     "gmsaCredentialSpec size must be under 64 KiB");
    }
    if (!HAS(options, runAsUserName))
        return;
    const struct at *here = AT(at, "runAsUserName");
    struct str domain = STR_NONE, name = user;
    if (user.n == 0)
        return bad_text(e, here, user, "runAsUserName cannot be an empty string");
    for (size_t i = 0; i < user.n; i++)
        if ((unsigned char)user.p[i] < 0x20 || user.p[i] == 0x7f)
            return bad_text(e, here, user, "runAsUserName cannot contain control characters");
    if (!str_split(user, '\\', &domain, &name)) {
        name = user;
    } else {
        if (str_find_char(name, '\\') >= 0)
            return bad_text(e, here, user, "runAsUserName cannot contain more than one backslash");
        if (domain.n == 0)
            bad_text(e, here, user, "runAsUserName's Domain doesn't match the NetBIOS nor the DNS format");
    }
    if (name.n == 0)
        bad_text(e, here, user, "runAsUserName's User cannot be empty");
    else if (name.n > 104)
        bad_text(e, here, user, "runAsUserName's User length must not be longer than 104 characters");
    bool only = true, odd = false;
    for (size_t i = 0; i < name.n; i++) {
        only &= name.p[i] == '.' || name.p[i] == ' ';
        odd |= name.p[i] && strchr("\"/\\:;|=,+*?<>@[]", name.p[i]);
    }
    if (name.n > 0 && only)
        bad_text(e, here, user, "runAsUserName's User cannot contain only periods or spaces");
    if (odd)
        bad_text(e, here, user, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
}

void check_security_context(ERRS, const struct val *context, const struct val *host_users)
{
    if (!is_set(context))
        return;
    check_range(e, AT(at, "runAsUser"), V(context, runAsUser), 0, ID_MAX);
    check_range(e, AT(at, "runAsGroup"), V(context, runAsGroup), 0, ID_MAX);
    if (HAS(context, procMount)) {
        struct str mount = TEXT(context, procMount);
        bool own_users = val_is(host_users, VAL_BOOL) && !host_users->b;
        if (check_enum(e, AT(at, "procMount"), mount, "Default", "Unmasked") && str_eq(mount, S("Unmasked")) &&
            !own_users)
            bad_text(e, AT(at, "procMount"), mount, "`hostUsers` must be false to use `Unmasked`");
    }
    check_seccomp(e, AT(at, "seccompProfile"), V(context, seccompProfile));
    const struct val *escalation = V(context, allowPrivilegeEscalation);
    if (val_is(escalation, VAL_BOOL) && !escalation->b) {
        if (val_true(V(context, privileged)))
            bad_struct(e, at, T(core_v1_SecurityContext), context,
                       "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        each (cap, V(V(context, capabilities), add))
            if (str_eq(val_text(cap), S("CAP_SYS_ADMIN")))
                bad_struct(e, at, T(core_v1_SecurityContext), context,
                           "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
    }
    check_windows_options(e, AT(at, "windowsOptions"), V(context, windowsOptions));
    check_apparmor(e, AT(at, "appArmorProfile"), V(context, appArmorProfile));
}
