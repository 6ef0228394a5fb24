// What cudnn_attention.h asks of cuDNN, plainly: the emulator's memory is the host's. It holds callers to cuDNN's rules.
#include <cmath>
#include <vector>

#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cudnn_attention.h"
#include "kernels/cuda/emulator/machine.h"
#include "kernels/tensor.h"

namespace r1::cuda {
namespace {

void require(bool fine, const char* what) {
  if (!fine) emulator::stop(what);
}

// Row i of a sequence and a head.
uint16_t* row_of(const Operand& x, int64_t sequence, int64_t i, int64_t head) {
  return reinterpret_cast<uint16_t*>(x.data) + x.first[sequence] + i * x.row + head * x.head;
}
float dot(const uint16_t* a, const uint16_t* b, int64_t n) {
  float sum = 0;
  for (int64_t f = 0; f < n; ++f) sum += f32_from_bf16(a[f]) * f32_from_bf16(b[f]);
  return sum;
}
void add(std::vector<float>& to, int64_t row, const uint16_t* x, int64_t n, float by) {
  for (int64_t f = 0; f < n; ++f) to[static_cast<size_t>(row * n + f)] += by * f32_from_bf16(x[f]);
}
void store(const Operand& to, int64_t s, int64_t head, int64_t rows, const std::vector<float>& from) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t f = 0; f < to.features; ++f)
      row_of(to, s, i, head)[f] = bf16_from_f32(from[static_cast<size_t>(i * to.features + f)]);
}

void backward_of(const PackedBackward& a, int64_t s, int64_t kv) {
  const Operand &q = a.operands[kQ], &k = a.operands[kK], &v = a.operands[kV], &lse = a.operands[kLse];
  const int64_t rows = a.lengths[s], group = q.heads / k.heads;
  std::vector<float> dk(static_cast<size_t>(rows * k.features)), dv(static_cast<size_t>(rows * v.features));
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    std::vector<float> dq(static_cast<size_t>(rows * q.features));
    for (int64_t i = 0; i < rows; ++i) {
      const uint16_t *const q_i = row_of(q, s, i, h), *const do_i = row_of(a.operands[kDo], s, i, h);
      const float delta = dot(do_i, row_of(a.operands[kO], s, i, h), v.features);
      const float lse_i = reinterpret_cast<const float*>(lse.data)[lse.first[s] + i * lse.row + h * lse.head];
      for (int64_t j = 0; j <= i; ++j) {
        const uint16_t *const k_j = row_of(k, s, j, kv), *const v_j = row_of(v, s, j, kv);
        const float p = std::exp(a.scale * dot(q_i, k_j, q.features) - lse_i);
        const float ds = a.scale * p * (dot(do_i, v_j, v.features) - delta);
        add(dq, i, k_j, q.features, ds);
        add(dk, j, q_i, q.features, ds);
        add(dv, j, do_i, v.features, p);
      }
    }
    store(a.operands[kDq], s, h, rows, dq);
  }
  store(a.operands[kDk], s, kv, rows, dk);
  store(a.operands[kDv], s, kv, rows, dv);
}

}  // namespace

const std::string& cudnn_version() {
  static const std::string version = "(a stand-in)";
  return version;
}

void cudnn_backward(Context& ctx, const PackedBackward& a) {
  static_cast<CudaDevice&>(*ctx.device).finish();
  const auto aligned = [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; };
  require(aligned(a.lengths), "lengths for cuDNN are not 16-byte aligned");
  int64_t rows = 0;
  for (int64_t s = 0; s < a.slots; ++s) {
    rows += a.lengths[s];
    require(a.lengths[s] <= a.longest, "cuDNN was told that no sequence is as long as one is");
  }
  require(rows <= a.rows, "cuDNN was told of fewer rows than there are");
  for (size_t j = 0; j < kOperands; ++j) {
    const Operand& x = a.operands[j];
    require(aligned(x.data) && aligned(x.first), "an operand for cuDNN is not 16-byte aligned");
    require(j == kLse || (x.row % 8 == 0 && x.head % 8 == 0 && x.features % 8 == 0), "an operand's rows are not aligned");
    for (int64_t s = 0; s < a.slots; ++s)
      require(x.first[s + 1] - x.first[s] == a.lengths[s] * x.row, "offsets for cuDNN that are not those of its lengths");
  }
  for (int64_t s = 0; s < a.slots; ++s)
    for (int64_t kv = 0; kv < a.operands[kK].heads; ++kv) backward_of(a, s, kv);
}

}  // namespace r1::cuda
