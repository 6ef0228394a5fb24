// What would be left of a directory if the power failed now: the bytes that fsync or fdatasync has seen, under the names that
// an fsync of their directory has seen. A kill keeps everything that was written, so no test with kills finds a sync that is
// missing.
//
//   PowerCut power(dir);
//   write_file_atomically(dir / "a", "bytes");
//   power.restore(copy);  // copy/a is there, and whole
//
// Linking it puts fsync and fdatasync of this program, the libraries included, behind a look at the file. What `dir` holds when
// the object is made counts as durable. Files are read whole at each sync: for small directories. For tests and r1-sim; no
// other program links it.
// Thread rule: syncs from any thread; one object at a time.
#pragma once

#include <filesystem>
#include <functional>

namespace r1 {

class PowerCut {
 public:
  // `before_sync`: called before each sync of something in `dir`, on its thread; may be empty, and may call restore().
  explicit PowerCut(const std::filesystem::path& dir, std::function<void()> before_sync = {});
  ~PowerCut();
  PowerCut(const PowerCut&) = delete;
  PowerCut& operator=(const PowerCut&) = delete;
  // Makes the directory `to` as a machine would find `dir` after the cut. A file whose bytes were never synced is empty.
  void restore(const std::filesystem::path& to) const;

 private:
  std::filesystem::path dir_;
};

}  // namespace r1
