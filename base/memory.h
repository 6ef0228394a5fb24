// How much memory this process may take at most, and takes. Thread rule: pure functions of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace r1 {

// Physical memory and swap, or the limit of the control group that this process is in, whichever is less. Bytes.
uint64_t memory_limit();
std::optional<int64_t> resident_bytes();  // of this process now; absent where the system does not say
std::string bytes_text(double bytes);     // "1.5 GiB"

}  // namespace r1
