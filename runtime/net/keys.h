// Who may speak to a run: CURVE keys, one pair a principal, new with every run directory. docs/security.md says what they
// protect.
//
//   RUN/keys/          0700, files 0600, keys in Z85 (40 characters)
//     head.public      what a node or shell must know of the head, or it might speak to another
//     head.secret      read by r1-run alone
//     control.secret   "shell:control", read.secret "shell:read": of shells, with their .public
//     control.key      what r1-shell --key takes, to be handed to whoever may steer the run; read.key: to look at it
//     nodes            "node:NAME PUBLIC" a line: the keys that were made for nodes; their secret halves are handed to them and
//                      kept nowhere else
//     NAME.join        an invitation: what a node needs to join by hand, until the run is over. HEAD_PUBLIC PUBLIC SECRET
// Thread rule: functions: any thread; KeyRing: any thread.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

namespace r1 {

struct CurveKeys {
  std::string public_key, secret_key;  // Z85
};
CurveKeys new_curve_keys();
bool is_curve_key(std::string_view text);  // 40 characters of Z85
// Throws bad_input naming the file when it holds no such key.
CurveKeys read_curve_keys(const std::filesystem::path& public_file, const std::filesystem::path& secret_file);

// What a shell needs to speak to a run: lines "head KEY", "public KEY", "secret KEY", in this order; '#' begins a comment.
struct ShellKey {
  std::string head;  // the run's public key: nobody else can answer
  CurveKeys keys;
};
// Throws bad_input, naming file and line, for what is none, and when others may read it.
ShellKey read_shell_key(const std::filesystem::path& file);

// "node:NAME" with a name of 1 to 64 letters, digits, '.', '_', '-'; "shell:control"; "shell:read".
bool is_principal(std::string_view text);

// Public keys and what their holders may be.
class KeyRing {
 public:
  void let_in(const std::string& principal, const std::string& public_key);
  // Its links go on; a new one is refused.
  void shut_out(const std::string& public_key);
  std::string principal_of(const std::string& public_key) const;  // "": a stranger

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> principals_;
};

// What an invitation holds. Throws bad_input naming the file when it is none, or others than the owner may read it.
struct Invitation {
  std::string name, head_key;
  CurveKeys keys;
};
Invitation read_invitation(const std::filesystem::path& file);

// The keys of a run: read, or made where there are none. Throws failure when they cannot be kept, bad_input when what is there
// is no key, or others than the owner may read it.
class RunKeys {
 public:
  explicit RunKeys(const std::filesystem::path& run_dir);
  const CurveKeys& head() const { return head_; }
  // Shells' keys, and those of nodes that were made before (a node may come back to a head that was started again).
  void fill(KeyRing& ring) const;
  void fill_shells(KeyRing& ring) const;  // of shells alone
  // Writes control.key and read.key.
  void write_shell_keys() const;
  // New keys for node NAME, let in and noted before they are given away.
  CurveKeys new_node(const std::string& name, KeyRing& ring);
  // The file with which a process may join as node NAME; the one that is there, or new.
  std::filesystem::path invite(const std::string& name, KeyRing& ring);
  void take_back(const std::string& name);  // its file; who has read it may go on

 private:
  std::filesystem::path dir_;
  CurveKeys head_, control_, read_;
  std::map<std::string, std::string> nodes_;  // public key: principal
};

}  // namespace r1
