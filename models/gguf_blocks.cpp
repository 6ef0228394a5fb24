// Numbers as GGUF files hold them: blocks of quantised values to f32 and back.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "kernels/tensor.h"
#include "models/float16.h"
#include "models/gguf.h"

namespace r1 {
namespace {

constexpr GgufBlock kBlocks[] = {
    {GgufTensorType::f32, "F32", 1, 4},       {GgufTensorType::f16, "F16", 1, 2},     {GgufTensorType::bf16, "BF16", 1, 2},
    {GgufTensorType::q4_0, "Q4_0", 32, 18},   {GgufTensorType::q4_1, "Q4_1", 32, 20}, {GgufTensorType::q8_0, "Q8_0", 32, 34},
    {GgufTensorType::q6_k, "Q6_K", 256, 210},
};

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
float half(const uint8_t* at) { return f32_from_f16(load<uint16_t>(at)); }

void q4_0(const uint8_t* b, float* y) {
  const float d = half(b);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>((b[2 + j] & 15) - 8);
    y[j + 16] = d * static_cast<float>((b[2 + j] >> 4) - 8);
  }
}

void q4_1(const uint8_t* b, float* y) {
  const float d = half(b), m = half(b + 2);
  for (int j = 0; j < 16; ++j) {
    y[j] = d * static_cast<float>(b[4 + j] & 15) + m;
    y[j + 16] = d * static_cast<float>(b[4 + j] >> 4) + m;
  }
}

void q8_0(const uint8_t* b, float* y) {
  const float d = half(b);
  for (int j = 0; j < 32; ++j) y[j] = d * static_cast<float>(static_cast<int8_t>(b[2 + j]));
}

// 256 values: low four bits, high two bits, a scale for every 16, and a factor of all.
void q6_k(const uint8_t* b, float* y) {
  const uint8_t *ql = b, *qh = b + 128;
  const auto* scales = reinterpret_cast<const int8_t*>(b + 192);
  const float d = half(b + 208);
  for (int h = 0; h < 2; ++h, ql += 64, qh += 32, scales += 8, y += 128)
    for (int l = 0; l < 32; ++l) {
      const int is = l / 16;
      const int q[4] = {(ql[l] & 15) | (qh[l] & 3) << 4, (ql[l + 32] & 15) | ((qh[l] >> 2) & 3) << 4,
                        (ql[l] >> 4) | ((qh[l] >> 4) & 3) << 4, (ql[l + 32] >> 4) | (qh[l] >> 6) << 4};
      for (int k = 0; k < 4; ++k) y[l + 32 * k] = d * static_cast<float>(scales[is + 2 * k]) * static_cast<float>(q[k] - 32);
    }
}

void to_q8_0(const float* x, uint8_t* b) {
  float most = 0;
  for (int j = 0; j < 32; ++j) most = std::max(most, std::fabs(x[j]));
  const float d = most / 127.0f, inverse = d != 0 ? 1.0f / d : 0.0f;
  const uint16_t stored = f16_from_f32(d);
  std::memcpy(b, &stored, sizeof stored);
  for (int j = 0; j < 32; ++j) b[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(std::round(x[j] * inverse)));
}

}  // namespace

const GgufBlock* gguf_block(uint32_t type) {
  for (const GgufBlock& b : kBlocks)
    if (static_cast<uint32_t>(b.type) == type) return &b;
  return nullptr;
}

void gguf_dequantize(GgufTensorType type, const void* data, int64_t n, float* out) {
  const GgufBlock& block = *gguf_block(static_cast<uint32_t>(type));
  R1_CHECK(n % block.values == 0, block.name);
  const auto* at = static_cast<const uint8_t*>(data);
  for (int64_t i = 0; i < n; i += block.values, at += block.bytes) {
    switch (type) {
      case GgufTensorType::f32:
        out[i] = load<float>(at);
        break;
      case GgufTensorType::f16:
        out[i] = half(at);
        break;
      case GgufTensorType::bf16:
        out[i] = f32_from_bf16(load<uint16_t>(at));
        break;
      case GgufTensorType::q4_0:
        q4_0(at, out + i);
        break;
      case GgufTensorType::q4_1:
        q4_1(at, out + i);
        break;
      case GgufTensorType::q8_0:
        q8_0(at, out + i);
        break;
      case GgufTensorType::q6_k:
        q6_k(at, out + i);
        break;
    }
  }
}

void gguf_quantize(GgufTensorType type, const float* x, int64_t n, void* out) {
  const GgufBlock& block = *gguf_block(static_cast<uint32_t>(type));
  R1_CHECK(n % block.values == 0, block.name);
  auto* at = static_cast<uint8_t*>(out);
  for (int64_t i = 0; i < n; i += block.values, at += block.bytes) {
    if (type == GgufTensorType::f32) {
      std::memcpy(at, x + i, sizeof(float));
    } else if (type == GgufTensorType::f16 || type == GgufTensorType::bf16) {
      const uint16_t bits = type == GgufTensorType::f16 ? f16_from_f32(x[i]) : bf16_from_f32(x[i]);
      std::memcpy(at, &bits, sizeof bits);
    } else {
      R1_CHECK(type == GgufTensorType::q8_0, block.name);
      to_q8_0(x + i, at);
    }
  }
}

}  // namespace r1
