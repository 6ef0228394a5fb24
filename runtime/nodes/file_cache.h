// The files that a node was sent, by content: HASH in one directory, kept for the next run, and put by name into the tree that
// one run's roles read. A file is believed when it hashes to its name. What nobody used for long is removed. Not how the pieces
// travel (runtime/nodes/node.h). Thread rule: one thread at a time; several processes may share a directory.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "runtime/nodes/node_words.h"

namespace r1 {

class FileCache {
 public:
  explicit FileCache(std::filesystem::path directory);

  // Whether it is there; reads and hashes it the first time, and removes one that was damaged.
  bool holds(const NodeFile& file);
  // The next piece of a file that is on its way, from byte 0.
  void add(const NodeFile& file, uint64_t offset, std::string_view bytes);
  // All pieces are there. Throws failure when they are not what was announced; then nothing is kept of it.
  void complete(const NodeFile& file);
  // [offset, offset + bytes) of one that is there, or as far as it came; fewer bytes where that ends.
  std::string read(const NodeFile& file, uint64_t offset, uint64_t bytes) const;
  // Removes what was last used `unused_s` ago or before, then the longest unused files until all are at most `bytes` together;
  // none that was used within kSpare_s, which another process may be about to read.
  void prune(double unused_s = 30 * 86400.0, uint64_t bytes = uint64_t{64} << 30) const;
  static constexpr double kSpare_s = 86400;
  // Puts it at `tree` + its path. Throws failure when the disk refuses.
  void place(const NodeFile& file, const std::filesystem::path& tree) const;
  // Where a path of the head is in a tree.
  static std::filesystem::path in_tree(const std::filesystem::path& tree, const std::filesystem::path& path);

 private:
  std::filesystem::path name(const NodeFile& file) const;
  std::filesystem::path under_way(const NodeFile& file) const;

  const std::filesystem::path directory_;
  std::set<std::string> known_;  // hashes looked at
};

// XDG_CACHE_HOME/r1/files, else HOME/.cache/r1/files.
std::filesystem::path default_file_cache();

}  // namespace r1
