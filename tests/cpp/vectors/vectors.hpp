// The player of the shared vectors, by its nouns: the reader of their files, the wire at the raw side, the subject that
// is tested, and what is played: handshakes, frames and conversations.

#ifndef VECTORS_HPP
#define VECTORS_HPP

#include "lane.hpp"

#include <nlohmann/json.hpp>

#include <deque>
#include <map>
#include <optional>
#include <poll.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vectors {

// ---- reader.cpp: files to cases, and which of them are played ----------------------------------------------

using json = nlohmann::json;
using bytes = std::string;

// A byte value of tests/vectors/README.md.
bytes bytes_of(const json &value);

// A member, or nothing.
const json &member(const json &object, const char *name);

// Whether `names` is this name, or has it.
bool names_have(const json &names, std::string_view name);
void check_named(hostlane_status_t status, const json &names);

// What is played now, for whoever reads that it failed.
extern std::string playing;

json cases_of(const std::string &file);

// Plays each case of a file; what `unfit` gives a reason against is counted under it.
void each(const std::string &file, const char *(*unfit)(const json &), void (*play)(const json &));
const char *fits(const json &one);

// ---- wire.cpp: the raw side, what it writes and the frames that it reads -----------------------------------

constexpr unsigned flag_first = 0x01, flag_last = 0x02, flag_ext = 0x04, flag_fin = 0x08, flag_stream = 0x10;

extern const std::map<std::string, std::uint8_t> kinds;

// Whether no program has this channel.
bool reserved(const json &channel);

std::uint64_t little(std::string_view text, std::size_t at, std::size_t len);
bytes frame(std::uint16_t channel, const bytes &payload);
bytes frame1(const std::string &kind, unsigned flags, std::uint16_t channel, std::uint64_t id, const bytes &payload);
bytes hello(const std::vector<std::uint16_t> &channels = {1, 2, 3, 4});

// What a side proves a secret by.
bytes proof(const bytes &secret, bool connector, const bytes &request, const bytes &response);

// What the side under test sent.
struct sent {
    std::string kind;
    unsigned flags = 0;
    std::uint16_t channel = 0;
    std::uint64_t id = 0;
    bytes payload;
    std::optional<std::uint64_t> status;
    std::optional<std::uint64_t> deadline;

    void read_extensions();
};

// The other side of whatever is tested.
class raw {
public:
    raw(const raw &) = delete;
    raw &operator=(const raw &) = delete;

    void put(const bytes &data);
    void hang_up();

    // A frame of level 0, if one comes: channel and payload.
    std::optional<std::pair<std::uint16_t, bytes>> frame0(int ms);

    // A control frame or a whole message of level 1, if one comes.
    std::optional<sent> frame1(int ms);

protected:
    raw() = default;
    ~raw() = default;

    // Moves everything that can be moved, and waits `ms` at most while nothing can.
    virtual void pump(int ms) = 0;

    void open(int fd);
    void leave();

    // What it waits for.
    pollfd waits() const;
    void read();
    void write();

    // Whether what was written was taken, or nobody will take it.
    bool settled() const;

private:
    // Whether so many bytes come within `ms`.
    bool has(std::size_t len, int ms);
    bytes take(std::size_t len);

    int fd_ = -1;
    bytes out_;
    bytes in_;
    bool hanging_up_ = false;
    bool ended_ = false;
    std::map<std::uint16_t, sent> open_;
};

// ---- subject.cpp: the side under test, driven by a context -------------------------------------------------

// How long nothing may come where nothing is to come.
constexpr int hold = 15;

// Something the program asked for, and what came of it.
struct operation {
    bool done = false;
    std::uint64_t op = 0;
    std::int32_t kind = HOSTLANE_EVENT_PENDING;
    hostlane_status_t status = HOSTLANE_OK;
    std::uint32_t flags = 0;
    bytes data;
    hostlane::message message;
    hostlane::peer peer;
    std::optional<hostlane::error> error;

    void finished(hostlane::event &event);
};

// The options of a side of offers.json, grants.json or transcripts.json.
hostlane::common_options options_of(const json &side);

// A listener with its one client, or a connection, while the test is its other side.
class subject final : public raw {
public:
    subject(bool serving, const hostlane::common_options &options);
    ~subject();

    hostlane::context &context() { return context_; }

    // Keeps what was started until it has ended.
    operation *begin(hostlane::result<hostlane::event> started);
    operation &ended(operation *op);

    void pump(int ms) override;

    // Until what was written was taken, or nobody will take it.
    void settle();

    bytes handshake();

    // Offers level 1, up to the READY of this side.
    void level1();

    // HOSTLANE_OK once there is a connection, or why there is none.
    hostlane_status_t outcome();
    hostlane::peer &peer();
    operation &receive(int ms);

    // Why the connection is over.
    hostlane_status_t end();

    // What comes of the bytes that were put has to be this message.
    operation &expect_message(const json &channel, const bytes &payload);

    // And then this end: "more", "clean" or names.
    void expect_end(const json &expected);

private:
    hostlane::context context_ = hostlane::context::create().value();
    std::optional<hostlane::listener> listener_;
    std::deque<operation> operations_;
    operation *made_ = nullptr;
};

// ---- handshakes.cpp ----------------------------------------------------------------------------------------

void refuses(const bytes &payload, const json &names);

const char *unfit_request(const json &one);
void play_request(const json &one);
void play_response(const json &one);
const char *unfit_offer(const json &one);
void play_offer(const json &one);
const char *unfit_grant(const json &one);
void play_grant(const json &one);
void play_proof(const json &one);

// ---- frames.cpp --------------------------------------------------------------------------------------------

const char *unfit_frames(const json &one);
void play_frames(const json &one);
void play_control(const json &one);
const char *unfit_frames1(const json &one);
void play_frames1(const json &one);
const char *unfit_extensions(const json &one);
void play_extensions(const json &one);
const char *unfit_control1(const json &one);
void play_control1(const json &one);

// ---- conversations.cpp -------------------------------------------------------------------------------------

const char *unfit_transcript(const json &one);
void play_transcript(const json &one);

} // namespace vectors

#endif
