#include "runtime/nodes/hostfile.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "base/clipped.h"
#include "base/files.h"

namespace r1 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxLine = 4096;
constexpr size_t kMaxHostName = 253, kMaxWord = 64, kMaxTags = 16;
constexpr std::array<std::string_view, 8> kKeys = {"slots", "gpus", "tags", "user", "port", "device", "address", "ports"};

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Letters and digits, and `more` but for the first place, where a '-' would be an option of ssh.
bool is_word(std::string_view text, std::string_view more, size_t most) {
  return !text.empty() && text.size() <= most && (is_letter_or_digit(text[0]) || text[0] == '_') &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_letter_or_digit(c) || more.find(c) != std::string_view::npos; });
}

// One line, word by word.
class Line {
 public:
  Line(std::string_view text, std::string file, int number) : text_(text), file_(std::move(file)), number_(number) {}

  // The next word; "" at the end.
  std::string_view word() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    began_ = at_;
    while (at_ < text_.size() && text_[at_] != ' ' && text_[at_] != '\t') ++at_;
    return text_.substr(began_, at_ - began_);
  }
  // `offset`: from the beginning of the word that was read last.
  Where where(size_t offset = 0) const { return {file_, number_, static_cast<int>(began_ + offset) + 1}; }
  Error bad(const std::string& what, const std::string& hint, size_t offset = 0) const {
    return bad_input(what, where(offset), hint);
  }

 private:
  std::string_view text_;
  std::string file_;
  int number_;
  size_t at_ = 0, began_ = 0;
};

void read_user(HostEntry& entry, std::string_view text, const Line& line, size_t offset) {
  if (!is_word(text, "._-", kMaxWord))
    throw line.bad(fmt::format("'{}' is no user", clipped(text)),
                   "letters, digits, '.', '_' and '-', such as me@gpu07 or user=me", offset);
  if (!entry.user.empty()) throw line.bad("a user is given twice", "either me@HOST or user=me", offset);
  entry.user = text;
}

// A name, an IPv4 address, or an IPv6 one in brackets, which are left out. `port`: how a port is given there.
std::string read_address(std::string_view word, const Line& line, size_t offset, std::string_view port) {
  if (word.starts_with('[')) {
    in6_addr address{};
    const bool closed = word.ends_with(']') && word.size() > 2;
    std::string host(closed ? word.substr(1, word.size() - 2) : word);
    // Without a zone, which names an interface of one machine.
    if (!closed || ::inet_pton(AF_INET6, host.c_str(), &address) != 1)
      throw line.bad(fmt::format("'{}' is no IPv6 address in brackets", clipped(word)), "such as [2001:db8::7]", offset);
    return host;
  }
  if (std::count(word.begin(), word.end(), ':') == 1)
    throw line.bad(fmt::format("'{}' has a colon", clipped(word)), fmt::format("a port is an entry of its own: {}", port),
                   offset);
  if (word.find(':') != std::string_view::npos)
    throw line.bad(fmt::format("'{}' is an IPv6 address without brackets", clipped(word)), fmt::format("[{}]", clipped(word)),
                   offset);
  if (word.find_first_of("[],") != std::string_view::npos)
    throw line.bad(fmt::format("'{}' is no one host", clipped(word)), "ranges are not expanded; one line a node", offset);
  if (!is_word(word, ".-_", kMaxHostName))
    throw line.bad(fmt::format("'{}' is no host", clipped(word)),
                   "a name or an address, such as gpu07, 10.0.0.7 or [2001:db8::7]", offset);
  return std::string(word);
}

void read_host(HostEntry& entry, std::string_view word, const Line& line) {
  size_t offset = 0;
  if (const size_t at = word.find('@'); at != std::string_view::npos) {
    read_user(entry, word.substr(0, at), line, 0);
    offset = at + 1;
  }
  const std::string_view host = word.substr(offset);
  if (!host.starts_with('[') && host.find('=') != std::string_view::npos)
    throw line.bad(fmt::format("'{}' stands where a host belongs", clipped(host)), "a line begins with its host: gpu07 slots=8",
                   offset);
  entry.host = read_address(host, line, offset, "gpu07 port=2222");
}

int read_number(std::string_view key, std::string_view value, int from, int to, const Line& line, size_t offset) {
  int number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || number < from || number > to)
    throw line.bad(fmt::format("{}='{}' is not a number from {} to {}", key, clipped(value), from, to),
                   fmt::format("such as {}={}", key, std::max(from, std::min(to, 4))), offset);
  return number;
}

void read_tags(HostEntry& entry, std::string_view value, const Line& line, size_t offset) {
  for (size_t at = 0; at <= value.size();) {
    const size_t comma = std::min(value.find(',', at), value.size());
    const std::string_view tag = value.substr(at, comma - at);
    if (!is_word(tag, "._-", kMaxWord))
      throw line.bad(fmt::format("'{}' is no tag", clipped(tag)),
                     "letters, digits, '.', '_' and '-', parted by commas: tags=big,fast", offset + at);
    if (std::find(entry.tags.begin(), entry.tags.end(), tag) != entry.tags.end())
      throw line.bad(fmt::format("tag '{}' is given twice", tag), "once is enough", offset + at);
    if (entry.tags.size() == kMaxTags) throw line.bad(fmt::format("more than {} tags", kMaxTags), "fewer", offset + at);
    entry.tags.emplace_back(tag);
    at = comma + 1;
  }
}

void read_attribute(HostEntry& entry, std::string_view word, const Line& line, std::set<std::string, std::less<>>& given) {
  const size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  if (key.empty()) throw line.bad("a value without a key", "no blanks around '=': slots=4");
  if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
    if (key == "max_slots" || key == "max-slots")
      throw line.bad(fmt::format("'{}' has no meaning here", key),
                     "slots is the number of threads of the node; one line a node");
    const std::string near = nearest(key, kKeys);
    throw line.bad(fmt::format("unknown key '{}'", clipped(key)), near.empty()
                                                                      ? fmt::format("known are {}", fmt::join(kKeys, ", "))
                                                                      : fmt::format("did you mean '{}'?", near));
  }
  if (equals == std::string_view::npos || equals + 1 == word.size())
    throw line.bad(fmt::format("'{}' has no value", key), fmt::format("{}=..., without blanks around '='", key));
  if (!given.emplace(key).second) throw line.bad(fmt::format("'{}' is given twice", key), "once a line");
  const std::string_view value = word.substr(equals + 1);
  const size_t offset = equals + 1;
  if (key == "slots") entry.slots = read_number(key, value, 1, 65536, line, offset);
  if (key == "gpus") entry.gpus = read_number(key, value, 0, 1024, line, offset);
  if (key == "port") entry.port = read_number(key, value, 1, 65535, line, offset);
  if (key == "user") read_user(entry, value, line, offset);
  if (key == "tags") read_tags(entry, value, line, offset);
  if (key == "address") entry.address = read_address(value, line, offset, "ports=4000-4009");
  if (key == "ports") {
    try {
      entry.ports = parse_port_range(value);
    } catch (const Error& e) {
      throw line.bad(e.message(), "such as ports=4000-4009", offset);
    }
  }
  if (key == "device") {
    if (!is_word(value, "._-:", kMaxWord))
      throw line.bad(fmt::format("'{}' is no device", clipped(value)), "as the graph's attribute: device=cpu", offset);
    // As open_device() knows them; a range is for roles, and a node has one.
    const bool number = value.starts_with("gpu:") && value.size() > 4 && value.size() < 9 &&
                        std::all_of(value.begin() + 4, value.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (value != "cpu" && value != "gpu" && !number)
      throw line.bad(fmt::format("'{}' is no device of a node", clipped(value)), "device=cpu, device=gpu or device=gpu:N",
                     offset);
    entry.device = value;
  }
}

// Of bytes that are no text, the first.
size_t first_bad_byte(std::string_view text) {
  const auto it = std::find_if(text.begin(), text.end(),
                               [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; });
  return static_cast<size_t>(it - text.begin());
}

}  // namespace

bool HostEntry::is_local() const {
  return user.empty() && port == 0 && (host == "localhost" || host == "127.0.0.1" || host == "::1");
}

std::vector<HostEntry> parse_hostfile(std::string_view text, const std::string& file) {
  if (text.size() > kMaxHostfileBytes)
    throw bad_input(fmt::format("a hostfile of more than {} bytes", kMaxHostfileBytes), {file}, "is it a hostfile?");
  std::vector<HostEntry> entries;
  int number = 0;
  for (size_t at = 0; at < text.size();) {
    ++number;
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view whole = text.substr(at, end - at);
    at = end + 1;
    if (whole.ends_with('\r')) whole.remove_suffix(1);
    if (whole.size() > kMaxLine)
      throw bad_input(fmt::format("a line of more than {} bytes", kMaxLine), {file, number}, "one host a line, then key=value");
    if (const size_t bad = first_bad_byte(whole); bad < whole.size())
      throw bad_input("a byte that is no text", {file, number, static_cast<int>(bad) + 1}, "is it a hostfile?");
    Line line(whole.substr(0, whole.find('#')), file, number);
    const std::string_view host = line.word();
    if (host.empty()) continue;
    HostEntry entry;
    entry.where = line.where();
    read_host(entry, host, line);
    std::set<std::string, std::less<>> given;
    for (std::string_view word = line.word(); !word.empty(); word = line.word()) read_attribute(entry, word, line, given);
    if (entries.size() == kMaxHosts)
      throw bad_input(fmt::format("more than {} nodes", kMaxHosts), entry.where, "fewer, with more slots each");
    entry.name = fmt::format("node{}", entries.size() + 1);
    for (const HostEntry& other : entries)
      if (other.host == entry.host && other.user != entry.user)
        throw bad_input(
            fmt::format("host {} has user '{}' here and '{}' in line {}", entry.host, entry.user, other.user, other.where.line),
            entry.where, "one user a host");
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) throw bad_input("a hostfile without hosts", {file}, "a line a node, such as: localhost slots=4");
  return entries;
}

std::vector<HostEntry> read_hostfile(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) throw bad_input("the hostfile is not there", {file.string()}, "--hostfile FILE");
  if (!fs::is_regular_file(file, error)) throw bad_input("the hostfile is no regular file", {file.string()}, "--hostfile FILE");
  if (fs::file_size(file, error) > kMaxHostfileBytes)
    throw bad_input(fmt::format("a hostfile of more than {} bytes", kMaxHostfileBytes), {file.string()}, "is it a hostfile?");
  return parse_hostfile(read_file(file), file.string());
}

int threads_of(const HostEntry& entry, const std::vector<HostEntry>& all, int cores) {
  if (entry.slots) return *entry.slots;
  int open = 0;
  int64_t taken = 0;
  for (const HostEntry& other : all) {
    if (other.machine() != entry.machine()) continue;
    if (other.slots)
      taken += *other.slots;
    else
      ++open;
  }
  return static_cast<int>(std::max<int64_t>(1, (cores - taken) / std::max(open, 1)));
}

}  // namespace r1
