/* The shared vectors of tests/vectors, played against a real listener or a real connection, driven by a context: the
 * test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md. */

#include "vectors/vectors.h"

TEST(the_error_table) {
    bool known[1000] = {false};
    json_t *document = document_of("errors.json");
    const json_t *cases = json_object_get(document, "cases");
    for (size_t at = 0; at < json_array_size(cases); ++at) {
        const json_t *row = json_array_get(cases, at);
        const uint64_t code = number(json_object_get(row, "number"));
        CHECK(strcmp(hostlane_status_name((hostlane_status_t)code), text(row, "name")) == 0);
        CHECK(strcmp(hostlane_status_meaning((hostlane_status_t)code), text(row, "doc")) == 0);
        known[code] = true;
    }
    for (hostlane_status_t code = 1; code < 1000; ++code) {
        CHECK_EQ(known[code], strcmp(hostlane_status_name(code), hostlane_status_name(-1)) != 0);
    }
    json_decref(document);
}

/* Handshakes. */

TEST(requests) { each("framing/requests.json", unfit_request, play_request); }

TEST(responses) { each("framing/responses.json", NULL, play_response); }

TEST(offers) { each("level1/offers.json", unfit_offer, play_offer); }

TEST(grants) { each("level1/grants.json", unfit_grant, play_grant); }

TEST(proofs_of_the_raw_side) { each("level1/proofs.json", NULL, play_proof); }

/* Frames. */

TEST(frames) { each("framing/frames.json", unfit_frames, play_frames); }

TEST(control) { each("framing/control.json", NULL, play_control); }

TEST(frames_of_level_1) { each("level1/frames.json", unfit_frames1, play_frames1); }

TEST(extensions) { each("level1/extensions.json", unfit_extensions, play_extensions); }

TEST(control_frames_of_level_1) { each("level1/control.json", unfit_control1, play_control1); }

/* Conversations. */

TEST(transcripts) { each("framing/transcripts.json", unfit_transcript, play_transcript); }

TEST(transcripts_of_level_1) { each("level1/transcripts.json", unfit_transcript, play_transcript); }

int main(int argc, char **argv) { return check_main(argc, argv); }
