// Collectives: what several ranks of one trainer do together, over ranges of flat arrays of which each rank has its own.
//
// Not a way to send messages, and no knowledge of what the arrays mean. What goes to rank r is summed in the order of a ring
// that ends there, ((r+1 + r+2) + ...) + r, whatever the implementation and whoever is late: an element's bits are a function
// of the ranks' values and of whose it is.
//
// A call returns when the calling rank's array holds the result (in order with the thread's ops) and may be changed. All ranks
// call the same operations with the same shapes, types, ranges and roots, in the same order. Throws failure, naming ranks, when
// they do not, or when a rank has left; the collective is of no use then. A rank that has all that it asked for by then may
// hear of it in its next call.
// A rank that is late is waited for, however long: slow work is told from work that hangs by its units (base/stop.h), which are
// others' business. Who waits for more than a second says for whom (base/wait_note.h), and looks for a stop.
// Thread rule: a Collective belongs to one thread at a time, and each rank to another one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace r1 {

struct ElementRange {
  int64_t begin = 0, end = 0;
  bool operator==(const ElementRange&) const = default;
};
// [0, n) in `ranks` consecutive ranges that begin at multiples of `unit`, as equal as that allows.
std::vector<ElementRange> equal_ranges(int64_t n, int64_t ranks, int64_t unit = 1);
// Who sums what of an all_reduce: it is a reduce_scatter of these and an all_gather.
inline std::vector<ElementRange> all_reduce_ranges(int64_t n, int64_t ranks) { return equal_ranges(n, ranks, 32); }

class Collective {
 public:
  // Leaves: other ranks that still wait for this one fail.
  virtual ~Collective() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t ranks() const = 0;

  // x of every rank becomes the sum over ranks, in ranges that are all_reduce_ranges'.  x: [n] f32.
  virtual void all_reduce(Context&, const View& x) = 0;
  // The elements ranges[r] of rank r's x become the sum over ranks; the others stay.  x: [n] f32; ranges: one a rank, disjoint.
  virtual void reduce_scatter(Context&, const View& x, std::span<const ElementRange> ranges) = 0;
  // The elements ranges[r] of rank r's x go to the x of all others.  x: [n] of any type; ranges: one a rank, disjoint.
  virtual void all_gather(Context&, const View& x, std::span<const ElementRange> ranges) = 0;
  // x of rank `root` goes to the x of all others.  x: [n] of any type.
  virtual void broadcast(Context&, const View& x, int64_t root) = 0;
  // Before it leaves: why, for those who wait for it, as far as the implementation can tell them.
  virtual void say_why(const std::string& /*why*/) {}
};

// Ranks that are threads of this process and whose arrays are on one device.
std::vector<std::unique_ptr<Collective>> thread_ranks(int64_t ranks);

}  // namespace r1
