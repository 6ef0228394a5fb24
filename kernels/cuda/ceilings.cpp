// What a card does at its best (CardCeilings): cuBLASLt's largest products and copies inside the card, timed by the host around
// many of them. cuBLASLt is opened at run time and only here: nothing of r1 computes with it.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
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
void fill(CudaDevice& device, const Bytes& to, size_t bytes, bool bf16) {
  const size_t first = std::min(bytes, size_t{1} << 20), element = bf16 ? 2 : 4;
  std::vector<std::byte> numbers(first);
  Rng rng(1, "ceilings");
  for (size_t i = 0; i + element <= first; i += element) {
    const auto x = static_cast<float>(rng.normal());
    const uint16_t rounded = bf16_from_f32(x);
    std::memcpy(&numbers[i], bf16 ? static_cast<const void*>(&rounded) : &x, element);
  }
  device.copy_from_host(to.get(), numbers.data(), first);
  const cudaStream_t stream = device.stream().stream();
  for (size_t done = first; done < bytes; done *= 2)
    check(cudaMemcpyAsync(to.get() + done, to.get(), std::min(done, bytes - done), cudaMemcpyDeviceToDevice, stream),
          "cudaMemcpyAsync");
}

// The part of cublasLt.h (12 and 13) that is used: handles are pointers, enumerations are int.
struct CublasLt {
  using Handle = void*;
  int (*create)(Handle*) = nullptr;
  int (*destroy)(Handle) = nullptr;
  int (*desc_create)(Handle*, int compute, int scale) = nullptr;
  int (*desc_set)(Handle, int attribute, const void* value, size_t bytes) = nullptr;
  int (*desc_destroy)(Handle) = nullptr;
  int (*layout_create)(Handle*, int type, uint64_t rows, uint64_t columns, int64_t leading) = nullptr;
  int (*layout_destroy)(Handle) = nullptr;
  int (*matmul)(Handle, Handle desc, const void* alpha, const void* a, Handle la, const void* b, Handle lb, const void* beta,
                const void* c, Handle lc, void* d, Handle ld, const void* algorithm, void* workspace, size_t workspace_bytes,
                cudaStream_t stream) = nullptr;

  // Returns what is missing; "": all is there.
  std::string open() {
    void* library = nullptr;
    for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"})
      if ((library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) != nullptr) break;
    if (library == nullptr) return "no libcublasLt.so.13 or .12 is found";
    const auto get = [&](auto& f, const char* name) {
      f = reinterpret_cast<std::remove_reference_t<decltype(f)>>(dlsym(library, name));
      return f != nullptr;
    };
    const bool all = get(create, "cublasLtCreate") && get(destroy, "cublasLtDestroy") &&
                     get(desc_create, "cublasLtMatmulDescCreate") && get(desc_set, "cublasLtMatmulDescSetAttribute") &&
                     get(desc_destroy, "cublasLtMatmulDescDestroy") && get(layout_create, "cublasLtMatrixLayoutCreate") &&
                     get(layout_destroy, "cublasLtMatrixLayoutDestroy") && get(matmul, "cublasLtMatmul");
    return all ? "" : "libcublasLt lacks a function";
  }
};
constexpr int kCompute32F = 68, kReal32F = 0, kReal16BF = 14, kDescTransA = 3, kTransposed = 1;

// FLOP per second of c = a^T b, square, as weights are applied; 0 where the library refuses.
double product_rate(CudaDevice& device, const CublasLt& lt, int type, size_t element) {
  const size_t bytes = static_cast<size_t>(kProduct) * kProduct * element;
  constexpr size_t kWorkspace = size_t{64} << 20;
  const Bytes a(device, bytes), b(device, bytes), c(device, bytes), workspace(device, kWorkspace);
  const cudaStream_t stream = device.stream().stream();
  for (const Bytes* p : {&a, &b}) fill(device, *p, bytes, type == kReal16BF);
  CublasLt::Handle handle = nullptr, desc = nullptr, layout = nullptr;
  const float one = 1, zero = 0;
  double best = 0;
  if (lt.create(&handle) == 0 && lt.desc_create(&desc, kCompute32F, kReal32F) == 0 &&
      lt.desc_set(desc, kDescTransA, &kTransposed, sizeof kTransposed) == 0 &&
      lt.layout_create(&layout, type, kProduct, kProduct, kProduct) == 0) {
    bool ok = true;
    const auto products = [&] {
      for (int i = 0; i < kOfEach && ok; ++i)
        ok = lt.matmul(handle, desc, &one, a.get(), layout, b.get(), layout, &zero, c.get(), layout, c.get(), layout, nullptr,
                       workspace.get(), kWorkspace, stream) == 0;
      device.finish();
    };
    products();  // chooses its kernel
    for (int r = 0; r < kRepetitions && ok; ++r)
      best = std::max(best, 2.0 * kOfEach * kProduct * kProduct * kProduct / seconds(products));
    if (!ok) best = 0;
  }
  if (layout != nullptr) lt.layout_destroy(layout);
  if (desc != nullptr) lt.desc_destroy(desc);
  if (handle != nullptr) lt.destroy(handle);
  return best;
}

}  // namespace

CardCeilings measure_ceilings(CudaDevice& device) {
  CardCeilings c;
  c.copy_bytes = copy_rate(device);
  CublasLt lt;
  c.why = kEmulated ? "an emulated card has no cuBLASLt" : lt.open();
  if (!c.why.empty()) return c;
  c.bf16_flops = product_rate(device, lt, kReal16BF, 2);
  c.f32_flops = product_rate(device, lt, kReal32F, 4);
  if (c.bf16_flops == 0 || c.f32_flops == 0) c.why = "cuBLASLt refuses a product";
  return c;
}

}  // namespace r1::cuda
