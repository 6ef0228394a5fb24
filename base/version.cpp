#include "base/version.h"

namespace r1 {

const char* version() { return R1_VERSION; }

}  // namespace r1
