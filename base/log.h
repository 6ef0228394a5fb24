// Logging: one process-wide sink set up in main(), spdlog behind it. Text only; callers format with fmt::format.
// Thread rule: any thread.
#pragma once

#include <filesystem>
#include <string_view>

namespace r1 {

enum class LogLevel { debug, info, warn, error };

// Also writes to `file` when it is not empty (appending). Until this is called, lines of level warn and above go to stderr.
void log_open(const std::filesystem::path& file, LogLevel to_file, LogLevel to_stderr);
void log_line(LogLevel level, std::string_view text);
void log_flush();

inline void log_debug(std::string_view text) { log_line(LogLevel::debug, text); }
inline void log_info(std::string_view text) { log_line(LogLevel::info, text); }
inline void log_warn(std::string_view text) { log_line(LogLevel::warn, text); }
inline void log_error(std::string_view text) { log_line(LogLevel::error, text); }

}  // namespace r1
