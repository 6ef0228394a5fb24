// Devices that come in a shared library of their own, which is loaded when one of them is asked for: "gpu:N" of libr1_cuda.so.
// So the programs neither link nor need CUDA.
//
// A plugin exports two functions. r1_plugin_abi() is R1_PLUGIN_ABI, a hash that CMake makes of the headers that both sides are
// compiled with: a plugin of another build is refused by it, before anything else of it is called. r1_plugin_open(index) makes
// device number `index` or throws r1::Error; program and plugin share one libstdc++. A plugin stays loaded.
// Thread rule: open_plugin_device is called by one thread at a time (open_device).
#pragma once

#include <memory>
#include <string>

#include "kernels/device.h"

extern "C" {
using r1_plugin_abi_function = const char* (*)();
using r1_plugin_open_function = r1::Device* (*)(int index);
}

namespace r1 {

// name: "gpu:2". The library is libr1_cuda.so beside the program, or in ../lib/r1 of it; the
// environment variable R1_CUDA_PLUGIN names another one. Throws bad_input: not found, not loadable, of another build, no such
// device.
std::unique_ptr<Device> open_plugin_device(const std::string& name);

}  // namespace r1
