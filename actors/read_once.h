// What a process reads once of the files that a graph names, however many nodes ask: parsed tokenizers, and what files were;
// and that the inputs of a run stay what they were when it began.
// Thread rule: any thread may call; who asks for what another thread is reading waits for it.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/fingerprint.h"
#include "models/tokenizer/tokenizer.h"

namespace r1 {

// "reading model.safetensors: 3.2 of 15.2 GB", to whom it is shown; empty where nobody is.
FingerprintProgress shown_progress(const std::filesystem::path& file, const std::function<void(const std::string& line)>& show);

class ReadOnce {
 public:
  // The tokenizer that `parse` makes of `file`; parsed again when the file was written to.
  std::shared_ptr<const Tokenizer> tokenizer(const std::filesystem::path& file, const std::function<Tokenizer()>& parse);
  // Of one that no file holds.
  std::shared_ptr<const Tokenizer> tokenizer(const std::string& name, const std::function<Tokenizer()>& parse);

  // As fingerprint_file(). Read again unless it was certainly not written to since.
  FileFingerprint fingerprint(const std::filesystem::path& file, const FingerprintProgress& progress = {});

  // `file`, an input of the run, is what it was at `stamp`, with this content (FileFingerprint::hex), and is to stay that.
  void keep(const std::filesystem::path& file, const FileStamp& stamp, const std::string& content);
  // Throws failure naming a kept file, `place` or one below it, that is another now, or gone. One is read again only where it
  // was written to since.
  void check_kept(const std::filesystem::path& place);

 private:
  struct Kept {
    FileStamp stamp;
    std::string content;
  };
  struct Parsed {
    std::string stamp;
    std::shared_ptr<const Tokenizer> tokenizer;
  };
  struct Print {
    FileStamp stamp;
    FileFingerprint print;
  };
  std::mutex mutex_;
  std::map<std::string, Parsed> tokenizers_;
  std::map<std::string, Print> prints_;  // of files that had been left alone when they were read
  std::map<std::string, Kept> kept_;
};

}  // namespace r1
