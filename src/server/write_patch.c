/* Patches: the request's over a document, and upstream's words for those that do not fit. */
#include "api/codec.h"
#include "api/patch.h"
#include "server/fail.h"
#include "server/limits.h"
#include "server/write.h"

bool work_fits(struct request *r)
{
    if (!work_over())
        return true;
    struct err err = ERR;
    (void)err_set(&err, E_TOO_LARGE, "the object has lists too long to be compared with each other: split it");
    return fail_err(r, &err);
}

/* A strategic patch shows itself where a value has the wrong shape, the others their result. */
static bool fail_strategic(struct request *r, const struct strbuf *why)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    AUTO(field_errors_fini) struct field_errors e = {.arena = &r->arena};
    val_go_text(&text, r->body);
    field_error_add(&e, FE_INVALID, "patch", "Invalid value: \"" STR_FMT "\": " STR_FMT, STR_ARG(strbuf_str(&text)),
                    STR_ARG(strbuf_str(why)));
    return fail_invalid(r, S(""), S(""), S(""), &e);
}

static bool patch_doc(struct request *r, const struct type *type, const struct val *doc, struct val *out,
                      struct err *err)
{
    struct arena *a = &r->arena;
    switch (r->options.patch) {
    case FORMAT_JSON_PATCH: return patch_json(a, doc, r->body, out, err);
    case FORMAT_MERGE_PATCH: return patch_merge(a, doc, r->body, out, err);
    case FORMAT_STRATEGIC_PATCH: return patch_strategic(a, type, doc, r->body, out, err);
    case FORMAT_APPLY_PATCH: break;
    }
    return err_set(err, E_UNSUPPORTED_MEDIA, "an apply is no patch of a document"); /* write_managed.c */
}

static bool fail_patch(struct request *r, const struct err *err)
{
    if (r->options.patch == FORMAT_JSON_PATCH && err->kind == E_INVALID) {
        fail_plain(r, 422, "the server rejected our request due to an error in our request");
        r->answer.fail.reason = "Invalid";
        r->answer.fail.details = true;
        return false;
    }
    return err->kind == E_INTERNAL ? fail_plain(r, 500, "%s", err->text) : fail_err(r, err);
}

/* As a client sees the document: with the zeros of its type, and with who manages what. */
static bool fail_shown(struct request *r, const struct patched *p, const struct err *why)
{
    struct val with = val_copy(&r->arena, p->doc), shown;
    struct err err = ERR;
    if (p->managed)
        (void)val_set(&r->arena, val_need_map(&r->arena, &with, N(metadata)), N(managedFields),
                      managed_val(&r->arena, p->managed));
    struct val whole = type_complete(&r->arena, p->type, &with);
    return patch_doc(r, p->type, &whole, &shown, &err) ? fail_patched(r, &shown, why) : fail_patch(r, &err);
}

/* The notes on the patch and on its result are refused, warned of or ignored, as the client wants. */
static bool heed_notes(struct request *r, const struct patched *p, struct decode_notes *notes)
{
    struct decode_notes all = {.arena = &r->arena};
    val_each_item (it, r->body_notes)
        array_push(&all.texts, val_text(it));
    array_each (it, &notes->texts)
        array_push(&all.texts, *it);
    bool ok = all.texts.n == 0 || r->options.validation != VALIDATION_STRICT;
    if (r->options.validation == VALIDATION_WARN)
        array_each (it, &all.texts)
            answer_warn(r, *it);
    if (!ok) {
        AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
        struct err why = ERR;
        decode_notes_text(&all, &text);
        (void)err_set(&why, E_INVALID, STR_FMT, STR_ARG(strbuf_str(&text)));
        if (r->options.patch == FORMAT_STRATEGIC_PATCH)
            fail_strategic(r, &text);
        else
            fail_shown(r, p, &why);
    }
    decode_notes_fini(&all);
    return ok;
}

/* The result does not fit the type: shown as the JSON that it is, zeros included. */
static bool fail_misfit(struct request *r, const struct patched *p, const struct val *patched, const struct err *why)
{
    AUTO(strbuf_fini) struct strbuf text = STRBUF(STRBUF_TEXT);
    if (r->options.patch == FORMAT_STRATEGIC_PATCH && patch_restore_error(p->type, patched, &text))
        return fail_strategic(r, &text);
    return fail_shown(r, p, why);
}

bool patch_apply(struct request *r, const struct patched *p, struct val *out)
{
    struct arena *a = &r->arena;
    const struct type *type = p->type;
    const struct val *doc = p->doc;
    struct val patched, whole;
    struct err err = ERR;
    if (r->options.patch == FORMAT_MERGE_PATCH && !val_is(r->body, VAL_MAP) && !val_is(r->body, VAL_NULL))
        return fail_bad_request(/* the RFC has a meaning for it, an object not */
                                r,
                                "error decoding patch: json: cannot unmarshal %s into Go value of type "
                                "map[string]interface {}",
                                val_json_name(r->body));
    if (r->options.patch == FORMAT_JSON_PATCH) { /* its paths may lead through what is empty */
        whole = type_complete(a, type, doc);
        doc = &whole;
    }
    bool patches = patch_doc(r, type, doc, &patched, &err);
    if (!work_fits(r))
        return false;
    if (!patches)
        return fail_patch(r, &err);
    struct str kind = val_text_at(doc, N(kind)), version = val_text_at(doc, N(apiVersion));
    if (r->options.patch == FORMAT_STRATEGIC_PATCH && !val_get(&patched, N(kind)) &&
        !val_get(&patched, N(apiVersion))) {
        val_set_text(a, &patched, N(kind), kind); /* $patch: replace of the whole object need not say what it is */
        val_set_text(a, &patched, N(apiVersion), version);
    }
    bool kind_later = r->kind->custom && type == kind_type(r->kind); /* its rules say what is wrong with it */
    if ((!kind_later && !str_eq(val_text_at(&patched, N(kind)), kind)) ||
        !str_eq(val_text_at(&patched, N(apiVersion)), version)) {
        err_set(&err, E_INVALID, "a patch cannot change kind and apiVersion of an object (" STR_FMT ", " STR_FMT ")",
                STR_ARG(kind), STR_ARG(version));
        return fail_patched(r, &patched, &err);
    }
    struct decode_notes notes = {.arena = a};
    bool ok = type_decode_val(a, type, &patched, out, &notes, &err) ? heed_notes(r, p, &notes)
                                                                    : fail_misfit(r, p, &patched, &err);
    array_fini(&notes.texts);
    return ok;
}
