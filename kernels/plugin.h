// Devices that come in a shared library of their own, which is loaded when one of them is asked for: "gpu:N" of libr1_cuda.so.
// So the programs neither link nor need CUDA.
//
// A plugin exports seven functions. r1_plugin_abi() is R1_PLUGIN_ABI, a hash that CMake makes of the headers that both sides
// are compiled with: a plugin of another build is refused by it, before anything else of it is called. r1_plugin_open(index)
// makes device number `index` or throws r1::Error; r1_plugin_count() is how many there are, and throws where the machine has no
// driver; r1_plugin_ceilings() measures (card_ceilings); r1_plugin_library_linear() is library_linear; r1_plugin_ranks_id() and
// r1_plugin_ranks() make ranks of a collective (kernels/card_ranks.h). An error is thrown across: program and plugin share one
// libstdc++. A plugin stays loaded. Thread rule: open_plugin_device is called by one thread at a time (open_device).
#pragma once

#include <memory>
#include <string>

#include "kernels/card_ranks.h"
#include "kernels/device.h"

namespace r1 {
// What a card does at its best, measured now: large products of cuBLASLt, copies inside the card (bytes read and written). 0:
// not measured, and `why` says why.
struct CardCeilings {
  double bf16_flops = 0, f32_flops = 0, copy_bytes = 0;  // per second
  std::string why;
};
struct Linear;
}  // namespace r1

extern "C" {
using r1_plugin_abi_function = const char* (*)();
using r1_plugin_open_function = r1::Device* (*)(int index);
using r1_plugin_count_function = int (*)();
using r1_plugin_ranks_id_function = void (*)(r1::CardRanksId* id);
using r1_plugin_ranks_function = r1::Collective* (*)(r1::Device* card, const r1::CardRanksId* id, int64_t rank, int64_t ranks,
                                                     double patience_s);
using r1_plugin_ceilings_function = void (*)(r1::Device* card, r1::CardCeilings* ceilings);
using r1_plugin_library_linear_function = r1::Recording* (*)(r1::Device* card, const r1::Linear* op);
}

namespace r1 {

// name: "gpu:2". The library is libr1_cuda.so beside the program, or in ../lib/r1 of it; the
// environment variable R1_CUDA_PLUGIN names another one. Throws bad_input: not found, not loadable, of another build, no such
// device.
std::unique_ptr<Device> open_plugin_device(const std::string& name);

struct PluginDevices {
  int count = 0;
  std::string why_none;  // where there is none: no plugin, no driver, no card
};
// What may be opened: gpu:0 to gpu:(count - 1). Opens none. Throws bad_input for a plugin that is there and cannot be used.
PluginDevices plugin_devices();
// `card`: a device of the plugin.
CardCeilings card_ceilings(Device& card);
// `op`, which has no bias, as cuBLASLt does it at its fastest, without a promise about bits: what exactness is compared with.
// Null where there is no such library or it refuses; op's tensors are the caller's. `card`: a device of the plugin.
std::unique_ptr<Recording> library_linear(Device& card, const Linear& op);

}  // namespace r1
