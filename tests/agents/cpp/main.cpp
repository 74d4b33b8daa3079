// agent MODE ADDR ...

#include "agent.hpp"

#include <exception>
#include <iostream>
#include <map>

namespace {
constexpr const char *usage = R"(usage: agent files ADDR              (file paths on standard input)
       agent bench ADDR SIZE SECONDS
       agent stream ADDR SIZE SECONDS
       agent sink ADDR
       agent raw-echo PATH
       agent raw-bench PATH SIZE SECONDS
       agent raw-sink PATH
       agent raw-stream PATH SIZE SECONDS
)";

using plain = void (*)(const std::string &);
using measured = void (*)(const std::string &, std::size_t, seconds);

const std::map<std::string, plain> plain_modes = {
    {"files", files_run}, {"sink", lane_sink}, {"raw-echo", raw_echo}, {"raw-sink", raw_sink}};
const std::map<std::string, measured> measured_modes = {
    {"bench", lane_bench}, {"stream", lane_stream}, {"raw-bench", raw_bench}, {"raw-stream", raw_stream}};
} // namespace

int main(int argc, char **argv) {
    try {
        if (argc == 3 && plain_modes.count(argv[1]) != 0) {
            plain_modes.at(argv[1])(argv[2]);
            return 0;
        }
        if (argc == 5 && measured_modes.count(argv[1]) != 0) {
            measured_modes.at(argv[1])(argv[2], std::stoul(argv[3]), seconds(std::stod(argv[4])));
            return 0;
        }
        std::cerr << usage;
    } catch (const std::exception &error) {
        std::cerr << "agent: " << error.what() << '\n';
    }
    return 1;
}
