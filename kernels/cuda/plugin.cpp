// What the plugin exports (kernels/plugin.h). An error is thrown across: program and plugin share libstdc++.
#include "kernels/plugin.h"

#include "base/error.h"
#include "kernels/cuda/cuda_device.h"

extern "C" __attribute__((visibility("default"))) const char* r1_plugin_abi() { return R1_PLUGIN_ABI; }

extern "C" __attribute__((visibility("default"))) r1::Device* r1_plugin_open(int index) {
  return new r1::cuda::CudaDevice(index);
}
