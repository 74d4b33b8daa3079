// The C++ agent of the cross-language demo and benchmark, file by file. Errors are exceptions.

#ifndef AGENT_HPP
#define AGENT_HPP

#include <hostlane.hpp>

#include <chrono>
#include <cstddef>
#include <string>

// Longest wait of one operation.
inline constexpr hostlane::timeout limit = std::chrono::seconds(5);

using seconds = std::chrono::duration<double>;

void files_run(const std::string &address);

void lane_bench(const std::string &address, std::size_t size, seconds time);
void lane_stream(const std::string &address, std::size_t size, seconds time);
void lane_sink(const std::string &address);

void raw_echo(const std::string &path);
void raw_bench(const std::string &path, std::size_t size, seconds time);
void raw_sink(const std::string &path);
void raw_stream(const std::string &path, std::size_t size, seconds time);

#endif
