#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log_sink.h"
#include "base/say.h"

namespace r1 {

namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

constexpr const char* kName = "r1";

using Sink = std::function<void(LogLevel, std::string_view)>;

std::shared_ptr<const Sink>& elsewhere() {
  static std::shared_ptr<const Sink> sink;
  return sink;
}

std::shared_ptr<spdlog::logger> logger() {
  if (auto known = spdlog::get(kName)) return known;
  static std::shared_ptr<spdlog::logger> early = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    auto made = std::make_shared<spdlog::logger>("r1-early", sink);
    made->set_level(spdlog::level::warn);
    made->set_pattern("%l: %v");
    return made;
  }();
  return early;
}

}  // namespace

void log_open(const std::filesystem::path& file, LogLevel to_file, LogLevel to_stderr) {
  std::vector<spdlog::sink_ptr> sinks;
  auto err = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  err->set_level(to_spdlog(to_stderr));
  err->set_pattern("%^%l%$: %v");
  sinks.push_back(err);
  if (!file.empty()) {
    std::shared_ptr<spdlog::sinks::basic_file_sink_mt> to_disk;
    try {
      to_disk = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file.string());
    } catch (const spdlog::spdlog_ex& e) {
      throw failure(std::string("cannot open the log: ") + e.what(), {file.string()});
    }
    to_disk->set_level(to_spdlog(to_file));
    to_disk->set_pattern("%Y-%m-%d %H:%M:%S.%e [%t] %l %v");
    sinks.push_back(to_disk);
  }
  spdlog::drop(kName);
  auto made = std::make_shared<spdlog::logger>(kName, sinks.begin(), sinks.end());
  made->set_level(spdlog::level::debug);
  // What was said before a kill is there after it, and whoever follows the file sees it at once.
  made->flush_on(spdlog::level::info);
  // A log that cannot be written (a full disk) must not end a run, nor flood the terminal.
  auto said = std::make_shared<std::atomic<bool>>(false);
  made->set_error_handler([said, file](const std::string& why) {
    if (!said->exchange(true)) say("warning: {}: the log is incomplete: {}\n", file.string(), why);
  });
  spdlog::register_logger(made);
}

void log_line(LogLevel level, std::string_view text) {
  const std::shared_ptr<const Sink> sink = std::atomic_load(&elsewhere());
  if (sink) return (*sink)(level, text);
  logger()->log(to_spdlog(level), "{}", text);
}

void log_to(Sink sink) { std::atomic_store(&elsewhere(), sink ? std::make_shared<const Sink>(std::move(sink)) : nullptr); }

void log_flush() { logger()->flush(); }

}  // namespace r1
