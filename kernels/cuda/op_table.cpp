#include "kernels/cuda/kernels.h"

namespace r1::cuda {

const OpTable& op_table() {
  static const OpTable table = [] {
    OpTable t;
#define R1_SET_ENTRY(Struct, field) t.field = field;
    R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
    return t;
  }();
  return table;
}

}  // namespace r1::cuda
