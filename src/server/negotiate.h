/* negotiate.h - the form of an answer: Accept with upstream's rules (RFC 9110 12.5.1, and the as/v/g parameters of
 * application/json;as=Table;v=v1;g=meta.k8s.io). Pure. */
#pragma once
#include "base/err.h"

enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };
enum form { FORM_PLAIN, FORM_TABLE, FORM_METADATA, FORM_METADATA_LIST, FORM_DISCOVERY /* apidiscovery.k8s.io v2 */ };
struct negotiated {
    enum media media;
    enum form form;
    bool stream; /* ;stream=watch */
    bool beta;   /* Table and PartialObjectMetadata of meta.k8s.io/v1beta1, which is v1 by an older name */
};
/* What paths can answer; E_NOT_ACCEPTABLE with upstream's text otherwise. */
enum offer {
    OFFER_PLAIN /* an answer that is no stored object */,
    OFFER_OBJECT,
    OFFER_LIST /* streams too */,
    OFFER_OBJECT_TEXT, /* of a kind that has no protobuf form */
    OFFER_LIST_TEXT,
    OFFER_DISCOVERY
};
MUST_USE bool media_negotiate(struct str accept, enum offer offer, struct negotiated *out, struct err *err);
/* Upstream refuses in two layers with two texts: this tells which one spoke (the first has empty details). */
bool negotiate_first_layer(struct str accept);
/* The media of a body; false: not one of ours. */
MUST_USE bool media_of_content_type(struct str content_type, enum media *out);
struct str media_name(enum media m); /* "application/json" */
/* One parameter of a media type: media_param("a/b;as=Table", "as"). */
struct str media_param(struct str type, const char *name);
