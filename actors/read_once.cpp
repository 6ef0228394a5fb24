#include "actors/read_once.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/error.h"

namespace r1 {

namespace {

std::string key_of(const std::filesystem::path& file) {
  std::string key = std::filesystem::absolute(file).lexically_normal().string();
  while (key.size() > 1 && key.back() == '/') key.pop_back();
  return key;
}

}  // namespace

FingerprintProgress shown_progress(const std::filesystem::path& file,
                                   const std::function<void(const std::string& line)>& show) {
  if (!show) return {};
  return [name = file.filename().string(), show](uint64_t done, uint64_t of) {
    show(fmt::format("reading {}: {:.1f} of {:.1f} GB", name, static_cast<double>(done) / 1e9, static_cast<double>(of) / 1e9));
  };
}

std::shared_ptr<const Tokenizer> ReadOnce::tokenizer(const std::filesystem::path& file,
                                                     const std::function<Tokenizer()>& parse) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none))
    return std::make_shared<const Tokenizer>(parse());  // which says what is wrong
  check_kept(file);
  const std::string stamp = file_stamp(file).text();
  const std::lock_guard lock(mutex_);
  Parsed& known = tokenizers_[key_of(file)];
  if (!known.tokenizer || known.stamp != stamp) known = {stamp, std::make_shared<const Tokenizer>(parse())};
  return known.tokenizer;
}

std::shared_ptr<const Tokenizer> ReadOnce::tokenizer(const std::string& name, const std::function<Tokenizer()>& parse) {
  const std::lock_guard lock(mutex_);
  Parsed& known = tokenizers_[name];
  if (!known.tokenizer) known.tokenizer = std::make_shared<const Tokenizer>(parse());
  return known.tokenizer;
}

void ReadOnce::keep(const std::filesystem::path& file, const FileStamp& stamp, const std::string& content) {
  const std::lock_guard lock(mutex_);
  kept_[key_of(file)] = {stamp, content};
}

void ReadOnce::check_kept(const std::filesystem::path& place) {
  const std::string key = key_of(place);
  const std::lock_guard lock(mutex_);
  for (auto at = kept_.lower_bound(key); at != kept_.end() && at->first.starts_with(key); ++at) {
    auto& [file, kept] = *at;
    if (file.size() > key.size() && file[key.size()] != '/') continue;
    const FileStamp now = file_stamp(file);
    if (now == kept.stamp) continue;
    if (fingerprint_file(file).hex() != kept.content)
      throw failure("the file has been changed while it is in use", {file},
                    "put it back as it was; inputs of a run stay as they are until it is done");
    kept.stamp = now;
  }
}

FileFingerprint ReadOnce::fingerprint(const std::filesystem::path& file, const FingerprintProgress& progress) {
  const std::string name = key_of(file);
  const FileStamp stamp = file_stamp(file);
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = prints_.find(name); known != prints_.end() && known->second.stamp == stamp)
      return known->second.print;
  }
  const FileFingerprint print = fingerprint_file(file, progress);
  const std::lock_guard lock(mutex_);
  if (stamp.settled(wall_clock_s())) prints_[name] = {stamp, print};
  return print;
}

}  // namespace r1
