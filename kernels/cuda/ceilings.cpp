// What a card does at its best (CardCeilings): cuBLASLt's largest products and copies inside the card, timed by the host around
// many of them.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/cuda/cublas_lt.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/plugin.h"

namespace r1::cuda {
namespace {

constexpr int64_t kProduct = kEmulated ? 64 : 8192;                           // rows and columns
constexpr size_t kCopyBytes = kEmulated ? size_t{1} << 20 : size_t{1} << 30;  // beyond any cache
constexpr int kRepetitions = 3, kOfEach = 10;

double seconds(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Bytes {
 public:
  Bytes(CudaDevice& device, size_t bytes) : device_(device), bytes_(bytes), p_(device.allocate(bytes)) {}
  ~Bytes() { device_.free(p_, bytes_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  std::byte* get() const { return p_; }

 private:
  CudaDevice& device_;
  size_t bytes_;
  std::byte* p_;
};

double copy_rate(CudaDevice& device) {
  const Bytes from(device, kCopyBytes), to(device, kCopyBytes);
  const cudaStream_t stream = device.stream().stream();
  const auto copies = [&] {
    for (int i = 0; i < kOfEach; ++i)
      check(cudaMemcpyAsync(to.get(), from.get(), kCopyBytes, cudaMemcpyDeviceToDevice, stream), "cudaMemcpyAsync");
    device.finish();
  };
  double best = 0;
  for (int r = 0; r <= kRepetitions; ++r)
    best = std::max(best, 2.0 * kOfEach * static_cast<double>(kCopyBytes) / seconds(copies));
  return best;
}

// Normal numbers, a megabyte of them again and again: a product of zeros takes less power, and with it less time.
void fill(CudaDevice& device, const Bytes& to, size_t bytes, DType type) {
  const size_t first = std::min(bytes, size_t{1} << 20), element = dtype_size(type);
  std::vector<std::byte> numbers(first);
  Rng rng(1, "ceilings");
  for (size_t i = 0; i + element <= first; i += element) {
    const auto x = static_cast<float>(rng.normal());
    const uint16_t rounded = bf16_from_f32(x);
    std::memcpy(&numbers[i], type == DType::bf16 ? static_cast<const void*>(&rounded) : &x, element);
  }
  device.copy_from_host(to.get(), numbers.data(), first);
  const cudaStream_t stream = device.stream().stream();
  for (size_t done = first; done < bytes; done *= 2)
    check(cudaMemcpyAsync(to.get() + done, to.get(), std::min(done, bytes - done), cudaMemcpyDeviceToDevice, stream),
          "cudaMemcpyAsync");
}

// FLOP per second of square products, as weights are applied; 0 where the library refuses.
double product_rate(CudaDevice& device, DType type) {
  const size_t bytes = static_cast<size_t>(kProduct) * kProduct * dtype_size(type);
  const Bytes x(device, bytes), w(device, bytes), y(device, bytes);
  for (const Bytes* p : {&x, &w}) fill(device, *p, bytes, type);
  const auto product =
      LibraryLinear::make(device, {kProduct, kProduct, kProduct, kProduct, kProduct, kProduct, type == DType::bf16});
  if (product == nullptr) return 0;
  bool ok = true;
  const auto products = [&] {
    for (int i = 0; i < kOfEach && ok; ++i) ok = product->run(x.get(), w.get(), y.get());
    device.finish();
  };
  products();  // chooses its kernel
  double best = 0;
  for (int r = 0; r < kRepetitions && ok; ++r)
    best = std::max(best, 2.0 * kOfEach * kProduct * kProduct * kProduct / seconds(products));
  return ok ? best : 0;
}

}  // namespace

CardCeilings measure_ceilings(CudaDevice& device) {
  CardCeilings c;
  c.copy_bytes = copy_rate(device);
  c.why = cublas_lt_missing();
  if (!c.why.empty()) return c;
  c.bf16_flops = product_rate(device, DType::bf16);
  c.f32_flops = product_rate(device, DType::f32);
  if (c.bf16_flops == 0 || c.f32_flops == 0) c.why = "cuBLASLt refuses a product";
  return c;
}

}  // namespace r1::cuda
