// As much of NCCL's interface as kernels/cuda/nccl_ranks.cpp uses, for ranks that are threads of one process and memory that
// the host can read (the emulated card): it carries bytes when all ranks of a communicator have ended their group. Streams are
// ignored; the caller has waited for them.
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace {

struct Operation {
  enum class Kind { send, receive, broadcast } kind;
  const void* from;
  void* to;
  size_t bytes;
  int other;  // peer or root
};
struct World {
  explicit World(int n) : ranks(n), operations(static_cast<size_t>(n)) {}
  const int ranks;
  std::mutex mutex;
  std::condition_variable changed;
  int arrived = 0;
  uint64_t generation = 0;
  std::vector<std::vector<Operation>> operations;

  void meet() {
    std::unique_lock lock(mutex);
    const uint64_t before = generation;
    if (++arrived == ranks) {
      arrived = 0;
      ++generation;
      changed.notify_all();
    }
    changed.wait(lock, [&] { return generation != before; });
  }
};
struct Communicator {
  std::shared_ptr<World> world;
  int rank;
};
struct Id {
  char bytes[128];
};

std::mutex g_mutex;
uint64_t g_next_id = 1;
std::map<uint64_t, std::shared_ptr<World>> g_worlds;
thread_local std::vector<Operation> t_operations;
thread_local Communicator* t_communicator = nullptr;

int add(Communicator* c, Operation o) {
  t_communicator = c;
  t_operations.push_back(o);
  return 0;
}

// The k-th receive from a peer gets its k-th send to this rank.
const Operation* matching_send(const World& w, int peer, int rank, size_t k) {
  for (const Operation& o : w.operations[static_cast<size_t>(peer)])
    if (o.kind == Operation::Kind::send && o.other == rank && k-- == 0) return &o;
  return nullptr;
}
const Operation* matching_broadcast(const World& w, int root, size_t k) {
  for (const Operation& o : w.operations[static_cast<size_t>(root)])
    if (o.kind == Operation::Kind::broadcast && k-- == 0) return &o;
  return nullptr;
}

}  // namespace

extern "C" {

int ncclGetUniqueId(Id* id) {
  const std::lock_guard lock(g_mutex);
  std::memset(id, 0, sizeof *id);
  std::memcpy(id->bytes, &g_next_id, sizeof g_next_id);
  ++g_next_id;
  return 0;
}
int ncclCommInitRank(Communicator** c, int ranks, Id id, int rank) {
  uint64_t key = 0;
  std::memcpy(&key, id.bytes, sizeof key);
  std::shared_ptr<World> world;
  {
    const std::lock_guard lock(g_mutex);
    std::shared_ptr<World>& of_id = g_worlds[key];
    if (of_id == nullptr) of_id = std::make_shared<World>(ranks);
    world = of_id;
  }
  if (world->ranks != ranks || rank < 0 || rank >= ranks) return 4;
  world->meet();
  *c = new Communicator{world, rank};
  return 0;
}
int ncclCommDestroy(Communicator* c) {
  delete c;
  return 0;
}
int ncclCommAbort(Communicator* c) { return ncclCommDestroy(c); }
int ncclGroupStart() {
  t_operations.clear();
  t_communicator = nullptr;
  return 0;
}
int ncclGroupEnd() {
  if (t_communicator == nullptr) return 0;  // nothing was asked for
  World& w = *t_communicator->world;
  const int rank = t_communicator->rank;
  w.operations[static_cast<size_t>(rank)] = t_operations;
  w.meet();
  int result = 0;
  std::map<int, size_t> received;
  size_t broadcasts = 0;
  for (const Operation& o : t_operations) {
    if (o.kind == Operation::Kind::send) continue;
    const Operation* const from = o.kind == Operation::Kind::receive ? matching_send(w, o.other, rank, received[o.other]++)
                                                                     : matching_broadcast(w, o.other, broadcasts++);
    if (from == nullptr || from->bytes != o.bytes)
      result = 4;
    else if (from->from != o.to)
      std::memcpy(o.to, from->from, o.bytes);
  }
  w.meet();
  return result;
}
int ncclSend(const void* from, size_t bytes, int, int peer, Communicator* c, void*) {
  return add(c, {Operation::Kind::send, from, nullptr, bytes, peer});
}
int ncclRecv(void* to, size_t bytes, int, int peer, Communicator* c, void*) {
  return add(c, {Operation::Kind::receive, nullptr, to, bytes, peer});
}
int ncclBroadcast(const void* from, void* to, size_t bytes, int, int root, Communicator* c, void*) {
  return add(c, {Operation::Kind::broadcast, from, to, bytes, root});
}
const char* ncclGetErrorString(int result) { return result == 4 ? "invalid argument" : "no error"; }

}  // extern "C"
