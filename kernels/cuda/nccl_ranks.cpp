#include "kernels/cuda/nccl_ranks.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <type_traits>

#include "base/error.h"
#include "kernels/ops.h"

namespace r1::cuda {
namespace {

constexpr int64_t kPiece = int64_t{1} << 22;  // elements that are summed at once: bounds the scratch memory

// The part of nccl.h (2.7 and later) that is used: all is carried as bytes.
struct Nccl {
  using Comm = void*;
  struct Id {
    char bytes[128];
  };
  int (*id)(Id*) = nullptr;
  int (*init)(Comm*, int ranks, Id, int rank) = nullptr;
  int (*destroy)(Comm) = nullptr;
  int (*abort)(Comm) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  int (*send)(const void*, size_t count, int type, int peer, Comm, cudaStream_t) = nullptr;
  int (*receive)(void*, size_t count, int type, int peer, Comm, cudaStream_t) = nullptr;
  int (*broadcast)(const void* from, void* to, size_t count, int type, int root, Comm, cudaStream_t) = nullptr;
  const char* (*words)(int) = nullptr;
  static constexpr int kBytes = 0;  // ncclInt8

  void check(int result, const char* what) const {
    if (result != 0) throw failure(fmt::format("NCCL failed at {}: {}", what, words(result)));
  }
};

const Nccl& nccl() {
  static const Nccl all = [] {
    // Its sockets have no keys: they stay on this machine unless somebody says where else.
    setenv("NCCL_SOCKET_IFNAME", "lo", 0);
    const char* const named = std::getenv("R1_NCCL");
    void* library = nullptr;
    for (const char* name : {named, "libnccl.so.2"})
      if (name != nullptr && library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr)
      throw failure("ranks on cards need NCCL, and libnccl.so.2 is not found", {},
                    "install it (libnccl2), or name the file in R1_NCCL");
    Nccl n;
    const auto get = [&](auto& f, const char* name) {
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
      if (f == nullptr) throw failure(fmt::format("the NCCL that was found has no {}", name), {}, "2.7 or later is needed");
    };
    get(n.id, "ncclGetUniqueId"), get(n.init, "ncclCommInitRank"), get(n.destroy, "ncclCommDestroy");
    get(n.abort, "ncclCommAbort"), get(n.group_start, "ncclGroupStart"), get(n.group_end, "ncclGroupEnd");
    get(n.send, "ncclSend"), get(n.receive, "ncclRecv"), get(n.broadcast, "ncclBroadcast");
    get(n.words, "ncclGetErrorString");
    return n;
  }();
  return all;
}

class NcclRank final : public Collective {
 public:
  NcclRank(CudaDevice& card, const CardRanksId& id, int64_t rank, int64_t ranks, double patience_s)
      : card_(card), rank_(rank), ranks_(ranks), patience_s_(patience_s) {
    Nccl::Id bytes;
    static_assert(sizeof bytes == sizeof id);
    std::memcpy(&bytes, id.data(), sizeof bytes);
    card_.stream();  // the calling thread is on the card
    lib_.check(lib_.init(&comm_, static_cast<int>(ranks), bytes, static_cast<int>(rank)), "ncclCommInitRank");
  }
  ~NcclRank() override {
    if (comm_ != nullptr) static_cast<void>(broken_ ? lib_.abort(comm_) : lib_.destroy(comm_));
  }
  NcclRank(const NcclRank&) = delete;
  NcclRank& operator=(const NcclRank&) = delete;
  int64_t rank() const override { return rank_; }
  int64_t ranks() const override { return ranks_; }

  void all_reduce(Context& ctx, const View& x) override {
    agree(ctx, "all_reduce", x, {}, 0);
    const std::vector<ElementRange> parts = all_reduce_ranges(x.size(), ranks_);
    sum_own_part(ctx, x, parts);
    give_all(x, parts);
  }
  void reduce_scatter(Context& ctx, const View& x, std::span<const ElementRange> ranges) override {
    agree(ctx, "reduce_scatter", x, ranges, 0);
    sum_own_part(ctx, x, ranges);
  }
  void all_gather(Context& ctx, const View& x, std::span<const ElementRange> ranges) override {
    agree(ctx, "all_gather", x, ranges, 0);
    give_all(x, ranges);
  }
  void broadcast(Context& ctx, const View& x, int64_t root) override {
    agree(ctx, "broadcast", x, {}, root);
    together([&] { give(x.data, bytes_of(x, x.size()), root); });
  }

 private:
  static size_t bytes_of(const View& x, int64_t n) { return static_cast<size_t>(n) * dtype_size(x.dtype); }
  cudaStream_t stream() { return card_.stream().stream(); }

  void give(std::byte* p, size_t bytes, int64_t root) {
    if (bytes > 0)
      lib_.check(lib_.broadcast(p, p, bytes, Nccl::kBytes, static_cast<int>(root), comm_, stream()), "ncclBroadcast");
  }
  // What `f` asks for is one operation, in order with the thread's ops.
  template <class F>
  void together(F&& f) {
    if (kEmulated) card_.finish();  // a stand-in for NCCL knows no streams
    lib_.check(lib_.group_start(), "ncclGroupStart");
    f();
    lib_.check(lib_.group_end(), "ncclGroupEnd");
  }
  void give_all(const View& x, std::span<const ElementRange> ranges) {
    together([&] {
      for (int64_t r = 0; r < ranks_; ++r) {
        const ElementRange& part = ranges[static_cast<size_t>(r)];
        give(x.data + bytes_of(x, part.begin), bytes_of(x, part.end - part.begin), r);
      }
    });
  }

  // Every rank gets the others' values of its part and adds them in the order of a ring that ends with it.
  void sum_own_part(Context& ctx, const View& x, std::span<const ElementRange> ranges) {
    int64_t longest = 0;
    for (const ElementRange& r : ranges) longest = std::max(longest, r.end - r.begin);
    for (int64_t at = 0; at < longest; at += kPiece) sum_piece(ctx, x, ranges, at);
  }
  void sum_piece(Context& ctx, const View& x, std::span<const ElementRange> ranges, int64_t at) {
    const auto piece = [&](int64_t r) {
      const ElementRange& all = ranges[static_cast<size_t>(r)];
      const int64_t begin = std::min(all.begin + at, all.end);
      return ElementRange{begin, std::min(begin + kPiece, all.end)};
    };
    const ElementRange own = piece(rank_);
    const int64_t n = own.end - own.begin;
    const Arena::Mark mark = ctx.arena.mark();
    const View others = ctx.arena.alloc(DType::f32, {ranks_, std::max<int64_t>(n, 1)});
    together([&] {
      for (int64_t r = 0; r < ranks_; ++r) {
        if (r == rank_) continue;
        const ElementRange theirs = piece(r);
        const auto peer = static_cast<int>(r);
        if (theirs.end > theirs.begin)
          lib_.check(lib_.send(x.data + bytes_of(x, theirs.begin), bytes_of(x, theirs.end - theirs.begin), Nccl::kBytes, peer,
                               comm_, stream()),
                     "ncclSend");
        if (n > 0)
          lib_.check(lib_.receive(others.data + bytes_of(x, r * n), bytes_of(x, n), Nccl::kBytes, peer, comm_, stream()),
                     "ncclRecv");
      }
    });
    if (n > 0 && ranks_ > 1) {
      const View mine = x.slice(own.begin, own.end);
      const View sum = ctx.arena.alloc(DType::f32, {n});
      const auto of = [&](int64_t r) {
        View part = others;
        part.rank = 1, part.shape[0] = n, part.stride[0] = 1, part.data += bytes_of(x, r * n);
        return r == rank_ ? mine : part;
      };
      card_.ops().copy(ctx, Copy{of((rank_ + 1) % ranks_), sum});
      for (int64_t i = 2; i <= ranks_; ++i) card_.ops().axpby(ctx, Axpby{of((rank_ + i) % ranks_), sum, 1, 1});
      card_.ops().copy(ctx, Copy{sum, mine});
    }
    ctx.arena.release(mark);
  }

  // All ranks ask for the same, or all fail and say who asked for what. Also where a rank that does not come is noticed.
  void agree(Context& ctx, const char* name, const View& x, std::span<const ElementRange> ranges, int64_t root) {
    if (broken_) throw failure("a collective operation failed before");
    constexpr size_t kBytes = 1024;
    std::string own = fmt::format("{} of {}", name, x.str());
    for (const ElementRange& r : ranges) own += fmt::format(" [{}, {})", r.begin, r.end);
    if (std::string_view(name) == "broadcast") own += fmt::format(" from rank {}", root);
    if (own.size() >= kBytes)
      own = fmt::format("{} with {} ranges, {:016x}", name, ranges.size(), std::hash<std::string>{}(own));
    own.resize(kBytes);
    const Arena::Mark mark = ctx.arena.mark();
    const View all = ctx.arena.alloc(DType::i64, {ranks_, static_cast<int64_t>(kBytes / 8)});
    card_.copy_from_host(all.data + static_cast<size_t>(rank_) * kBytes, own.data(), kBytes);
    together([&] {
      for (int64_t r = 0; r < ranks_; ++r) give(all.data + static_cast<size_t>(r) * kBytes, kBytes, r);
    });
    wait_for_all(name);
    std::string said(static_cast<size_t>(ranks_) * kBytes, '\0');
    card_.copy_to_host(said.data(), all.data, said.size());
    ctx.arena.release(mark);
    for (int64_t r = 1; r < ranks_; ++r)
      if (said.compare(static_cast<size_t>(r) * kBytes, kBytes, said, 0, kBytes) != 0) {
        broken_ = true;
        throw failure(fmt::format("a collective operation failed: rank 0 called {}, rank {} called {}", said.c_str(), r,
                                  said.c_str() + static_cast<size_t>(r) * kBytes));
      }
  }
  void wait_for_all(const char* name) {
    const auto begin = std::chrono::steady_clock::now();
    for (;;) {
      const cudaError_t e = cudaStreamQuery(stream());
      if (e == cudaSuccess) return;
      if (e != cudaErrorNotReady) check(e, "a collective operation");
      if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > patience_s_) {
        broken_ = true;
        throw failure(fmt::format("{} s of waiting in {} for other ranks: one of them left, or never came", patience_s_, name));
      }
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  const Nccl& lib_ = nccl();
  CudaDevice& card_;
  int64_t rank_, ranks_;
  double patience_s_;
  Nccl::Comm comm_ = nullptr;
  bool broken_ = false;
};

}  // namespace

CardRanksId new_nccl_id() {
  Nccl::Id bytes;
  nccl().check(nccl().id(&bytes), "ncclGetUniqueId");
  CardRanksId id;
  std::memcpy(id.data(), &bytes, sizeof bytes);
  return id;
}

std::unique_ptr<Collective> nccl_rank(CudaDevice& card, const CardRanksId& id, int64_t rank, int64_t ranks, double patience_s) {
  return std::make_unique<NcclRank>(card, id, rank, ranks, patience_s);
}

}  // namespace r1::cuda
