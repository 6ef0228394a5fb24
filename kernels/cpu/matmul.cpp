#include "kernels/cpu/matmul.h"

#include <omp.h>

#include <dnnl.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/threads.h"

namespace r1::cpu {
namespace {

// Debian's oneDNN runs on OpenMP, whose thread count is a property of the calling thread: every thread that computes passes
// here.
struct SingleThreaded {
  SingleThreaded() {
    omp_set_num_threads(1);
    R1_CHECK(omp_get_max_threads() == 1, "OpenMP ignores omp_set_num_threads");
  }
};
void use_one_thread() { static thread_local const SingleThreaded once; }

dnnl::engine& engine() {
  static dnnl::engine instance = [] {
    isa();  // tells oneDNN how far it may go
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return instance;
}

struct Hash {
  size_t operator()(const MatmulShape& s) const {
    uint64_t h = 0x9e3779b97f4a7c15ull;
    auto mix = [&h](uint64_t v) { h = (h ^ v) * 0xff51afd7ed558ccdull, h ^= h >> 32; };
    mix(static_cast<uint64_t>(s.m) << 32 | static_cast<uint32_t>(s.n));
    mix(static_cast<uint64_t>(s.k) << 32 | static_cast<uint32_t>(s.lda));
    mix(static_cast<uint64_t>(s.ldb) << 32 | static_cast<uint32_t>(s.ldc));
    mix(static_cast<uint64_t>(s.in) | static_cast<uint64_t>(s.out) << 8 | uint64_t{s.trans_a} << 16 |
        uint64_t{s.trans_b} << 17 | uint64_t{s.accumulate} << 18 | uint64_t{s.bias} << 19);
    return h;
  }
};

dnnl::memory::data_type data_type(DType t) {
  return t == DType::f32 ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
}

dnnl::memory::desc matrix(int64_t rows, int64_t cols, int64_t ld, bool trans, DType t) {
  return dnnl::memory::desc({rows, cols}, data_type(t), trans ? dnnl::memory::dims{1, ld} : dnnl::memory::dims{ld, 1});
}

struct Primitive {
  explicit Primitive(const MatmulShape& s)
      : a(matrix(s.m, s.k, s.lda, s.trans_a, s.in)),
        b(matrix(s.k, s.n, s.ldb, s.trans_b, s.in)),
        bias({1, s.n}, data_type(s.in), dnnl::memory::dims{s.n, 1}),
        c(matrix(s.m, s.n, s.ldc, false, s.out)) {
    dnnl::primitive_attr attr;
    // The default scratchpad is one per thread and sized when a primitive is created on that thread: not for shared primitives.
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (s.accumulate) {
      dnnl::post_ops ops;
      ops.append_sum(1.0f);
      attr.set_post_ops(ops);
    }
    const auto desc = s.bias ? dnnl::matmul::desc(a, b, bias, c) : dnnl::matmul::desc(a, b, c);
    const dnnl::matmul::primitive_desc pd(desc, attr, engine());
    scratchpad = pd.scratchpad_desc();
    primitive = dnnl::matmul(pd);
  }
  dnnl::memory::desc a, b, bias, c, scratchpad;
  dnnl::matmul primitive;
};

class PrimitiveCache {
 public:
  std::shared_ptr<const Primitive> get(const MatmulShape& shape) {
    std::lock_guard lock(mutex_);
    auto& p = map_[shape];
    if (!p) p = std::make_shared<const Primitive>(shape);
    return p;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<MatmulShape, std::shared_ptr<const Primitive>, Hash> map_;
};
PrimitiveCache& shared_cache() {
  static PrimitiveCache instance;
  return instance;
}

// A primitive with this thread's memory objects bound to it.
class Bound {
 public:
  explicit Bound(std::shared_ptr<const Primitive> p, bool bias)
      : p_(std::move(p)),
        a_(p_->a, engine(), nullptr),
        b_(p_->b, engine(), nullptr),
        c_(p_->c, engine(), nullptr),
        bias_(p_->bias, engine(), nullptr),
        scratchpad_(p_->scratchpad, engine(), nullptr),
        scratchpad_bytes_(p_->scratchpad.get_size()) {
    args_ = {{DNNL_ARG_SRC, a_.get()},
             {DNNL_ARG_WEIGHTS, b_.get()},
             {DNNL_ARG_DST, c_.get()},
             {DNNL_ARG_SCRATCHPAD, scratchpad_.get()}};
    if (bias) args_.push_back({DNNL_ARG_BIAS, bias_.get()});
  }
  void execute(const dnnl::stream& stream, const void* a, const void* b, const void* bias, void* c) {
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    if (bias) bias_.set_data_handle(const_cast<void*>(bias));
    if (scratchpad_bytes_) scratchpad_.set_data_handle(scratch_bytes(ScratchSlot::matmul, scratchpad_bytes_));
    const auto status = dnnl_primitive_execute(p_->primitive.get(), stream.get(), static_cast<int>(args_.size()), args_.data());
    R1_CHECK(status == dnnl_success, "oneDNN matmul failed");
  }

 private:
  std::shared_ptr<const Primitive> p_;
  dnnl::memory a_, b_, c_, bias_, scratchpad_;
  size_t scratchpad_bytes_;
  std::vector<dnnl_exec_arg_t> args_;
};

struct ThreadCache {
  dnnl::stream stream{engine()};
  std::unordered_map<MatmulShape, Bound, Hash> map;
};

}  // namespace

void matmul(const MatmulShape& shape, const void* a, const void* b, const void* bias, void* c) {
  use_one_thread();
  static thread_local ThreadCache cache;
  auto it = cache.map.find(shape);
  if (it == cache.map.end()) it = cache.map.try_emplace(shape, shared_cache().get(shape), shape.bias).first;
  it->second.execute(cache.stream, a, b, bias, c);
}

void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
           const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  use_one_thread();
  const auto status = dnnl::sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
  R1_CHECK(status == dnnl::status::success, "oneDNN sgemm failed");
}

bool has_bf16_matmul() { return isa() >= Isa::avx2; }

int64_t bf16_depth_slice() { return isa() == Isa::amx_onednn ? 512 : 256; }

std::string matmul_library() {
  const auto* v = dnnl_version();
  std::string name;
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      name = "sse41";
      break;
    case dnnl::cpu_isa::avx:
      name = "avx";
      break;
    case dnnl::cpu_isa::avx2:
      name = "avx2";
      break;
    case dnnl::cpu_isa::avx2_vnni:
      name = "avx2_vnni";
      break;
    case dnnl::cpu_isa::avx512_core:
      name = "avx512_core";
      break;
    case dnnl::cpu_isa::avx512_core_vnni:
      name = "avx512_core_vnni";
      break;
    case dnnl::cpu_isa::avx512_core_bf16:
      name = "avx512_core_bf16";
      break;
    case dnnl::cpu_isa::avx512_core_amx:
      name = "avx512_core_amx";
      break;
    default:
      name = "isa" + std::to_string(static_cast<int>(dnnl::get_effective_cpu_isa()));
  }
  return "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch) + " " + name;
}

}  // namespace r1::cpu
