/* The vectors of handshakes: requests and responses, offers and grants, proofs. */

#include "vectors.h"

json_t *parsed(blob payload) {
    json_t *json = json_loadb((const char *)payload.data, payload.len, JSON_DECODE_INT_AS_REAL, NULL);
    CHECK(json != NULL);
    return json;
}

void refuses(blob payload, const json_t *names) {
    json_t *json = parsed(payload);
    const json_t *error = json_object_get(json, "error");
    CHECK(names_have(names, text(error, "name")));
    const hostlane_status_t code = (hostlane_status_t)number(json_object_get(error, "code"));
    CHECK(strcmp(hostlane_status_name(code), text(error, "name")) == 0);
    json_decref(json);
}

static bool same_channels(const json_t *channels, const uint16_t *found, size_t len) {
    bool equal = json_array_size(channels) == len;
    for (size_t at = 0; equal && at < len; ++at) {
        equal = number(json_array_get(channels, at)) == found[at];
    }
    return equal;
}

const char *unfit_request(const json_t *one) {
    const json_t *channels = json_object_get(json_object_get(one, "server"), "channels");
    for (size_t at = 0; at < json_array_size(channels); ++at) {
        if (reserved(number(json_array_get(channels, at)))) {
            return "a program cannot ask for a reserved channel to be served";
        }
    }
    return NULL;
}

void play_request(const json_t *one) {
    const json_t *server = json_object_get(one, "server");
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.token = text(server, "auth_token")};
    take_channels(&options, json_object_get(server, "channels"));
    open_side(true, &options);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    const blob answer = handshake();
    const json_t *refused = json_object_get(expect, "refused");
    if (refused != NULL) {
        refuses(answer, refused);
        CHECK_NAMED(end(), refused);
        return;
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK(same_channels(json_object_get(expect, "channels"), info.channels, info.channels_len));
    json_t *json = parsed(answer);
    CHECK(same_channels(json_object_get(json, "channels"), info.channels, info.channels_len));
    json_decref(json);
}

void play_response(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.token = NULL};
    take_channels(&options, json_object_get(one, "asked"));
    open_side(false, &options);
    json_t *asked = parsed(handshake());
    CHECK(same_channels(json_object_get(asked, "channels"), options.channels, options.channels_len));
    json_decref(asked);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    if (json_object_get(expect, "error") != NULL) {
        CHECK_NAMED(outcome(), json_object_get(expect, "error"));
        return;
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK(same_channels(json_object_get(expect, "channels"), info.channels, info.channels_len));
    CHECK(strcmp(info.peer_id, text(expect, "peer_id")) == 0);
}

static const char *unfit_features(const json_t *side) {
    const json_t *features = json_object_get(side, "features");
    for (size_t at = 0; at < json_array_size(features); ++at) {
        if (strcmp(json_string_value(json_array_get(features, at)), "fds") != 0) {
            return "a feature that this language does not have";
        }
    }
    return NULL;
}

const char *unfit_offer(const json_t *one) { return unfit_features(json_object_get(one, "server")); }

const char *unfit_grant(const json_t *one) { return unfit_features(json_object_get(one, "client")); }

void play_offer(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.channels = {1, 2}, .channels_len = 2};
    take_side(&options, json_object_get(one, "server"));
    open_side(true, &options);
    const blob payload = bytes_of(json_object_get(one, "payload"));
    put_frame(0, payload.data, payload.len);
    const blob answer = handshake();
    if (json_object_get(expect, "refused") != NULL) {
        refuses(answer, json_object_get(expect, "refused"));
        return;
    }
    json_t *json = parsed(answer);
    const json_t *member = json_object_get(json, "hostlane");
    CHECK_EQ(member != NULL, number(json_object_get(expect, "level")));
    if (member == NULL) {
        hostlane_info_t info;
        CHECK_OK(hostlane_info(peer(), &info, NULL));
        CHECK_EQ(info.level, 0);
    } else {
        CHECK_EQ(names_have(json_object_get(member, "features"), "fds"),
                 names_have(json_object_get(expect, "features"), "fds"));
        CHECK_EQ(json_object_get(member, "auth") != NULL, json_is_true(json_object_get(expect, "auth")));
    }
    json_decref(json);
}

void play_grant(const json_t *one) {
    const json_t *expect = json_object_get(one, "expect");
    chosen options = {.channels = {1, 2}, .channels_len = 2};
    take_side(&options, json_object_get(one, "client"));
    open_side(false, &options);
    const blob request = handshake();
    const blob response = bytes_of(json_object_get(one, "payload"));
    put_frame(0, response.data, response.len);
    if (json_object_get(expect, "error") != NULL) {
        CHECK_NAMED(outcome(), json_object_get(expect, "error"));
        return;
    }
    if (number(json_object_get(expect, "level")) == 1) {
        if (json_is_true(json_object_get(expect, "auth"))) {
            put_frame1(kind_of("AUTH"), 0, 0, 0, proof(blob_of(options.secret), false, request, response));
        }
        put_frame1(kind_of("READY"), 0, 0, 0, (blob){NULL, 0});
    }
    hostlane_info_t info;
    CHECK_OK(hostlane_info(peer(), &info, NULL));
    CHECK_EQ(info.level, number(json_object_get(expect, "level")));
    CHECK_EQ(strcmp(info.features, "fds") == 0, names_have(json_object_get(expect, "features"), "fds"));
}

void play_proof(const json_t *one) {
    const blob secret = bytes_of(json_object_get(one, "secret"));
    const blob request = bytes_of(json_object_get(one, "request"));
    const blob response = bytes_of(json_object_get(one, "response"));
    const json_t *expect = json_object_get(one, "expect");
    const blob connector = bytes_of(json_object_get(expect, "connector"));
    const blob acceptor = bytes_of(json_object_get(expect, "acceptor"));
    CHECK(same(proof(secret, true, request, response), connector.data, connector.len));
    CHECK(same(proof(secret, false, request, response), acceptor.data, acceptor.len));
}
