// The nodes of one run, as its head has them: listens for links, makes a key for each node, starts the processes of a host
// file, waits until they have joined, starts again what dies, and ends them all. Others may join by an invitation
// (runtime/net/keys.h), whenever they like; nobody waits for them. What nodes do is the business of pools
// (runtime/nodes/pool_role.h), which reach them by members().
// Thread rule: constructor, destructor and join() by one thread; the rest by any.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/net/keys.h"
#include "runtime/net/zmq_links.h"
#include "runtime/nodes/launcher.h"
#include "runtime/nodes/members.h"

namespace r1 {

// One process of a host file.
struct FleetEntry {
  std::string name;  // "node1"; of its key and in tables
  std::string host;  // "": started here, without ssh
  std::string user;
  int port = 0;
  int threads = 0;      // of its CPU ops; 0: the cores of its host over `share`
  int share = 1;        // entries of the same host
  std::string device;   // "": as the graph says
  std::string address;  // by which other nodes reach it; "": the one from which it reaches the head
  PortRange ports;      // that it may listen on
  std::vector<std::string> tags;
  bool slurm = false;    // started by srun, as a step of this job, instead of by ssh
  bool invited = false;  // somebody else starts it, or nobody
};

class Fleet final : public LaunchSink {
 public:
  struct Options {
    std::filesystem::path run_dir;
    std::vector<FleetEntry> entries;
    LinkAddress listen;                                             // loopback unless told
    std::string address;                                            // by which other hosts reach this one; "": listen's
    PeerHello self;                                                 // the head's
    bool any_fingerprint = false;                                   // lets in nodes whose arithmetic is another
    uint64_t epoch = 1;                                             // Members::Options::epoch
    std::filesystem::path program;                                  // r1-node, for entries that are started here
    std::string device;                                             // of entries without one
    std::function<bool(int node, const FleetEntry& entry)> places;  // absent: every node of the graph at every entry
    LauncherOptions launcher;
    int64_t invitations = 0;                     // join1, join2, ...: for nodes that somebody else starts
    double join_s = 60;                          // from its start until it has joined
    std::map<std::string, std::string> drained;  // host by name: they stay away until undrain()
  };
  explicit Fleet(Options options);
  // Tells all that the run is over, and ends who does not go.
  ~Fleet() override;
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  struct Row {
    std::string name, host;
    int64_t pid = 0;  // there; 0: it is not there
    int threads = 0;
    std::string fingerprint;
    std::string state;  // "ok", "starts", "leaves", "drained", "is lost, starts again", or why it is not there
    int64_t lost = 0;   // times
    bool invited = false;
    bool drained = false;                   // told to stay away
    std::optional<int64_t> resident_bytes;  // its memory, as it said last
    std::optional<double> silent_s;         // since anything was heard of it; absent: it has no link
    bool here() const { return state == "ok" || state == "leaves"; }
  };
  // Until all entries have joined or failed, or `interrupted`.
  std::vector<Row> join(const std::atomic<bool>& interrupted);
  std::vector<Row> rows() const;
  // A node gets no new work, ends what it has, and its process ends; neither is it started again, nor let in when it comes from
  // the same host. False: no such node is here.
  bool drain(const std::string& name);
  // It may come again, and is started again where the host file has it. False: it is not drained.
  bool undrain(const std::string& name);
  Members& members() { return *members_; }

 private:
  struct Entry {
    FleetEntry plan;
    LaunchId launch = 0;
    LaunchId joined = 0;  // the last that joined
    int fruitless = 0;    // starts one after the other that did not join
    bool leaving = false;
    bool given_up = false;  // not started again; row.state says why
    PeerId peer = 0;        // 0: it is not there
    Row row;
  };
  void launch(Entry& entry);                             // under mutex_
  void start_again(Entry& entry);                        // as launch(); what goes wrong is its state, and it is given up
  void has_ended(Entry& entry, const std::string& how);  // under mutex_
  std::string nobody_comes(int node) const;
  void told(const Member& member, bool up, const std::string& why);
  bool stays_away(const Entry& entry, const std::string& host) const;  // under mutex_
  Entry* entry_of(const std::string& principal);

  void started(LaunchId launch, const std::string& greeting) override;
  void said(LaunchId launch, const std::string& line) override;
  void ended(LaunchId launch, const std::string& how) override;

  const Options options_;
  RunKeys keys_;
  KeyRing ring_;
  std::unique_ptr<Executor> files_;
  std::unique_ptr<Members> members_;
  std::unique_ptr<ZmqHead> links_;

  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> drained_;  // as Options::drained
  bool ending_ = false;
  std::unique_ptr<Launcher> launcher_;
};

// The rows as a table for people.
std::string fleet_table(const std::vector<Fleet::Row>& rows);

}  // namespace r1
