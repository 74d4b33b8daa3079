// The reader of the vectors: files to cases, and which of them are played.

#include "vectors.hpp"

#include <algorithm>
#include <fstream>

namespace vectors {

bytes bytes_of(const json &value) {
    bytes found;
    if (value.is_string()) {
        const auto &digits = value.get_ref<const std::string &>();
        for (std::size_t at = 0; at < digits.size(); at += 2) {
            found.push_back(static_cast<char>(std::stoi(digits.substr(at, 2), nullptr, 16)));
        }
    } else if (value.is_array()) {
        for (const auto &part : value) {
            found += bytes_of(part);
        }
    } else if (value.contains("text")) {
        found = value["text"].get<std::string>();
    } else if (value.contains("hex")) {
        const bytes unit = bytes_of(value["hex"]);
        const auto times = value["times"].get<std::size_t>();
        found.reserve(unit.size() * times);
        for (std::size_t at = 0; at < times; ++at) {
            found += unit;
        }
    }
    return found;
}

const json &member(const json &object, const char *name) {
    static const json nothing = json::object();
    const auto found = object.find(name);
    return found == object.end() ? nothing : *found;
}

bool names_have(const json &names, std::string_view name) {
    if (names.is_string()) {
        return names.get<std::string>() == name;
    }
    return std::any_of(names.begin(), names.end(), [&](const json &one) { return one.get<std::string>() == name; });
}

std::string playing;

static void tell() {
    if (!playing.empty()) {
        std::fprintf(stderr, "while playing %s\n", playing.c_str());
    }
}

void check_named(hostlane_status_t status, const json &names) {
    if (!names_have(names, hostlane_status_name(status))) {
        std::fprintf(stderr, "it is %s and not %s\n", hostlane_status_name(status), names.dump().c_str());
        std::exit(1);
    }
}

json cases_of(const std::string &file) {
    std::ifstream in(std::string(HOSTLANE_VECTORS) + "/" + file);
    json document = json::parse(in);
    CHECK(!document["cases"].empty());
    return std::move(document["cases"]);
}

const char *fits(const json &) { return nullptr; }

void each(const std::string &file, const char *(*unfit)(const json &), void (*play)(const json &)) {
    static const int telling = std::atexit(tell);
    CHECK_EQ(telling, 0);
    std::map<std::string, int> skipped;
    int played = 0;
    for (const auto &one : cases_of(file)) {
        if (const char *reason = unfit(one)) {
            ++skipped[reason];
            continue;
        }
        playing = one["id"].get<std::string>();
        play(one);
        ++played;
    }
    playing.clear();
    std::printf("%d cases of %s played\n", played, file.c_str());
    for (const auto &[reason, count] : skipped) {
        std::printf("%d cases not played: %s\n", count, reason.c_str());
    }
}

} // namespace vectors
