#include "kernels/reference/reference_table.h"

namespace r1 {

const OpTable& reference_op_table() {
  static const OpTable table = [] {
    OpTable t;
#define R1_SET_ENTRY(Struct, field) t.field = reference::field;
    R1_OPS(R1_SET_ENTRY)
#undef R1_SET_ENTRY
    return t;
  }();
  return table;
}

}  // namespace r1
