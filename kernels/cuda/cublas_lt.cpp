#include "kernels/cuda/cublas_lt.h"

#include <dlfcn.h>

#include <cstdlib>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace r1::cuda {
namespace {

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
  std::string missing = open();

 private:
  std::string open() {
    const char* const named = std::getenv("R1_CUBLASLT");
    if (kEmulated && named == nullptr) return "an emulated card has no cuBLASLt";
    void* library = nullptr;
    for (const char* name : {named, "libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"})
      if (name != nullptr && library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
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
constexpr int32_t kCompute32F = 68, kReal32F = 0, kReal16BF = 14, kDescTransA = 3, kTransposed = 1;
constexpr size_t kWorkspace = size_t{64} << 20;

const CublasLt& library() {
  static const CublasLt lt;
  return lt;
}

// Matrices are column-major there: y^T = w x^T, with w as the transposed of what lies in memory.
class Product final : public LibraryLinear {
 public:
  explicit Product(CudaDevice& device) : device_(device), workspace_(device.allocate(kWorkspace)) {}
  ~Product() override {
    for (const CublasLt::Handle l : {w_, x_, y_})
      if (l != nullptr) lt_.layout_destroy(l);
    if (desc_ != nullptr) lt_.desc_destroy(desc_);
    if (handle_ != nullptr) lt_.destroy(handle_);
    device_.free(workspace_, kWorkspace);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  bool prepare(const LibraryShape& s) {
    const int type = s.bf16 ? kReal16BF : kReal32F;
    const auto t = static_cast<uint64_t>(s.t), n = static_cast<uint64_t>(s.n), k = static_cast<uint64_t>(s.k);
    return lt_.create(&handle_) == 0 && lt_.desc_create(&desc_, kCompute32F, kReal32F) == 0 &&
           lt_.desc_set(desc_, kDescTransA, &kTransposed, sizeof kTransposed) == 0 &&
           lt_.layout_create(&w_, type, k, n, s.w_stride) == 0 && lt_.layout_create(&x_, type, k, t, s.x_stride) == 0 &&
           lt_.layout_create(&y_, type, n, t, s.y_stride) == 0;
  }
  bool run(const std::byte* x, const std::byte* w, std::byte* y) override {
    if (kEmulated) device_.finish();  // a library knows nothing of the emulator's queues
    const float one = 1, zero = 0;
    return lt_.matmul(handle_, desc_, &one, w, w_, x, x_, &zero, y, y_, y, y_, nullptr, workspace_, kWorkspace,
                      device_.stream().stream()) == 0;
  }

 private:
  const CublasLt& lt_ = library();
  CudaDevice& device_;
  std::byte* workspace_;
  CublasLt::Handle handle_ = nullptr, desc_ = nullptr, w_ = nullptr, x_ = nullptr, y_ = nullptr;
};

class OfOp final : public Recording {
 public:
  OfOp(std::unique_ptr<LibraryLinear> product, const Linear& op) : product_(std::move(product)), op_(op) {}
  void run() override {
    if (!product_->run(op_.x.data, op_.w.data, op_.y.data)) throw failure("cuBLASLt refuses a product");
  }

 private:
  std::unique_ptr<LibraryLinear> product_;
  Linear op_;
};

}  // namespace

std::string cublas_lt_missing() { return library().missing; }

std::unique_ptr<LibraryLinear> LibraryLinear::make(CudaDevice& device, const LibraryShape& shape) {
  if (!library().missing.empty()) return nullptr;
  device.stream();  // the library's handle is of the thread's card
  auto product = std::make_unique<Product>(device);
  return product->prepare(shape) ? std::move(product) : nullptr;
}

std::unique_ptr<Recording> library_linear(CudaDevice& device, const Linear& op) {
  const DType type = op.x.dtype;
  if (op.bias || op.w.dtype != type || op.y.dtype != type) return nullptr;
  auto product = LibraryLinear::make(device, {op.x.shape[0], op.w.shape[0], op.x.shape[1], op.x.stride[0], op.w.stride[0],
                                              op.y.stride[0], type == DType::bf16});
  if (product == nullptr || !product->run(op.x.data, op.w.data, op.y.data)) return nullptr;
  return std::make_unique<OfOp>(std::move(product), op);
}

}  // namespace r1::cuda
