// The shared vectors of tests/vectors, played against a real listener or a real connection, driven by a context: the
// test is the other side, at a raw socket. What the steps mean stands in tests/vectors/README.md.

#include "vectors/vectors.hpp"

#include <set>

using namespace vectors;

namespace {

TEST(the_error_table) {
    std::set<int> known;
    for (const auto &row : cases_of("errors.json")) {
        const hostlane::error error(row["number"].get<hostlane_status_t>(), nullptr);
        CHECK(error.name() == row["name"].get<std::string>());
        CHECK(row["doc"] == hostlane_status_meaning(error.status()));
        known.insert(error.status());
    }
    const std::string unknown = hostlane_status_name(-1);
    for (int code = 1; code < 1000; ++code) {
        CHECK_EQ(known.count(code) != 0, hostlane_status_name(code) != unknown);
    }
}

// Handshakes.

TEST(requests) { each("framing/requests.json", unfit_request, play_request); }

TEST(responses) { each("framing/responses.json", fits, play_response); }

TEST(offers) { each("level1/offers.json", unfit_offer, play_offer); }

TEST(grants) { each("level1/grants.json", unfit_grant, play_grant); }

TEST(proofs_of_the_raw_side) { each("level1/proofs.json", fits, play_proof); }

// Frames.

TEST(frames) { each("framing/frames.json", unfit_frames, play_frames); }

TEST(control) { each("framing/control.json", fits, play_control); }

TEST(frames_of_level_1) { each("level1/frames.json", unfit_frames1, play_frames1); }

TEST(extensions) { each("level1/extensions.json", unfit_extensions, play_extensions); }

TEST(control_frames_of_level_1) { each("level1/control.json", unfit_control1, play_control1); }

// Conversations.

TEST(transcripts) { each("framing/transcripts.json", unfit_transcript, play_transcript); }

TEST(transcripts_of_level_1) { each("level1/transcripts.json", unfit_transcript, play_transcript); }

} // namespace

int main(int argc, char **argv) { return check_main(argc, argv); }
