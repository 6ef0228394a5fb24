// Device memory for one run of an op in a test: random contents from a seed, any layout, guards around everything.
//
// The same calls with the same seed give the same host values on every device. All memory around a view and between its strided
// rows holds 0xFF bytes: NaN for floats, so a kernel that reads it poisons its result, and one that writes it is caught.
// Thread rule: one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/op_views.h"

namespace r1::test {

// Where a view lies in its buffer. offset: elements before it beyond an aligned start; gap: elements between rows.
struct Layout {
  int64_t offset = 0;
  int64_t gap = 0;
};

using Shape = std::vector<int64_t>;

class Buffers {
 public:
  Buffers(Device& device, uint64_t seed) : device_(device), rng_(seed, "test buffers") {}

  // Normal numbers times `scale`.
  View in(DType, const Shape&, Layout = {}, double scale = 1);
  View inout(DType, const Shape&, Layout = {}, double scale = 1);
  // Filled with 0xFF.
  View out(DType, const Shape&, Layout = {});
  // Given values, rounded to the type.
  View values(DType, const Shape&, const std::vector<double>&, Layout = {});
  View inout_values(DType, const Shape&, const std::vector<double>&, Layout = {});
  View ints(const Shape&, const std::vector<int64_t>&, DType = DType::i32, Layout = {});

  Rng& rng() { return rng_; }
  Device& device() { return device_; }

  // What the op wrote where it must not, one line each; empty when all is well.
  std::vector<std::string> damage() const;

 private:
  struct Buffer {
    Tensor storage;                 // bytes as bf16 (two bytes an element)
    std::vector<std::byte> before;  // its contents when the op started
    std::vector<char> may_change;   // per byte
  };
  View place(DType, const Shape&, Layout, const std::vector<std::byte>* contents, bool writable);

  Device& device_;
  Rng rng_;
  std::vector<Buffer> buffers_;
};

// The elements of any view, in row-major order, as bytes and as numbers.
std::vector<std::byte> read_bytes(const View&);
std::vector<double> read_values(const View&);
std::vector<std::byte> to_bytes(DType, const std::vector<double>&);
std::vector<double> to_values(DType, const std::vector<std::byte>&);
// Writes the elements of any view.
void write_bytes(const View&, const std::vector<std::byte>&);

// One output of an op after it ran.
struct Output {
  std::string name;
  DType dtype;
  Shape shape;
  std::vector<std::byte> bytes;
  std::vector<double> values() const { return to_values(dtype, bytes); }
};
// Every view that the op writes.
std::vector<Output> outputs_of(const AnyOp&);

}  // namespace r1::test
