// What of cuBLASLt r1-bench calls, as plain loops on memory of the host: its matrices are column-major, as cublasLt.h says.
// With R1_STAND_IN_WRONG set a number of the result is another one.
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

struct Description {
  bool a_transposed = false;
};
struct Layout {
  int type;
  uint64_t rows, columns;
  int64_t leading;
};
constexpr int kReal32F = 0, kReal16BF = 14, kCompute32F = 68, kDescTransA = 3, kOpT = 1;

float load(const Layout& l, const void* p, uint64_t row, uint64_t column) {
  const uint64_t at = row + column * static_cast<uint64_t>(l.leading);
  if (l.type == kReal32F) return static_cast<const float*>(p)[at];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(p)[at]) << 16;
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

void store(const Layout& l, void* p, uint64_t row, uint64_t column, float x) {
  const uint64_t at = row + column * static_cast<uint64_t>(l.leading);
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof x);
  if (l.type == kReal32F)
    static_cast<float*>(p)[at] = x;
  else
    static_cast<uint16_t*>(p)[at] = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

extern "C" {
int cublasLtCreate(void** handle) {
  *handle = new int;
  return 0;
}
int cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return 0;
}
int cublasLtMatmulDescCreate(void** desc, int compute, int scale) {
  if (compute != kCompute32F || scale != kReal32F) return 1;
  *desc = new Description;
  return 0;
}
int cublasLtMatmulDescSetAttribute(void* desc, int attribute, const void* value, size_t bytes) {
  if (attribute != kDescTransA || bytes != sizeof(int32_t)) return 1;
  static_cast<Description*>(desc)->a_transposed = *static_cast<const int32_t*>(value) == kOpT;
  return 0;
}
int cublasLtMatmulDescDestroy(void* desc) {
  delete static_cast<Description*>(desc);
  return 0;
}
int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  if ((type != kReal32F && type != kReal16BF) || leading < static_cast<int64_t>(rows)) return 1;
  *layout = new Layout{type, rows, columns, leading};
  return 0;
}
int cublasLtMatrixLayoutDestroy(void* layout) {
  delete static_cast<Layout*>(layout);
  return 0;
}
int cublasLtMatmul(void*, void* desc, const void* alpha, const void* a, void* la, const void* b, void* lb, const void* beta,
                   const void*, void*, void* d, void* ld, const void*, void*, size_t, void*) {
  const Layout &x = *static_cast<Layout*>(la), &y = *static_cast<Layout*>(lb), &z = *static_cast<Layout*>(ld);
  const bool transposed = static_cast<Description*>(desc)->a_transposed;
  const uint64_t m = transposed ? x.columns : x.rows, depth = transposed ? x.rows : x.columns;
  if (y.rows != depth || z.rows != m || z.columns != y.columns || *static_cast<const float*>(beta) != 0) return 1;
  for (uint64_t i = 0; i < m; ++i)
    for (uint64_t j = 0; j < y.columns; ++j) {
      float sum = 0;
      for (uint64_t k = 0; k < depth; ++k) sum += (transposed ? load(x, a, k, i) : load(x, a, i, k)) * load(y, b, k, j);
      store(z, d, i, j, *static_cast<const float*>(alpha) * sum);
    }
  if (std::getenv("R1_STAND_IN_WRONG") != nullptr) store(z, d, m - 1, y.columns - 1, 1e6f);
  return 0;
}
}
