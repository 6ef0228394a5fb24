// What the plugin exports (kernels/plugin.h). An error is thrown across: program and plugin share libstdc++.
#include "kernels/plugin.h"

#include "base/error.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/nccl_ranks.h"

extern "C" __attribute__((visibility("default"))) const char* r1_plugin_abi() { return R1_PLUGIN_ABI; }

extern "C" __attribute__((visibility("default"))) int r1_plugin_count() { return r1::cuda::device_count(); }

extern "C" __attribute__((visibility("default"))) void r1_plugin_ranks_id(r1::CardRanksId* id) {
  *id = r1::cuda::new_nccl_id();
}

extern "C" __attribute__((visibility("default"))) r1::Collective* r1_plugin_ranks(r1::Device* card, const r1::CardRanksId* id,
                                                                                  int64_t rank, int64_t ranks,
                                                                                  double patience_s) {
  return r1::cuda::nccl_rank(static_cast<r1::cuda::CudaDevice&>(*card), *id, rank, ranks, patience_s).release();
}

extern "C" __attribute__((visibility("default"))) void r1_plugin_ceilings(r1::Device* card, r1::CardCeilings* ceilings) {
  *ceilings = r1::cuda::measure_ceilings(static_cast<r1::cuda::CudaDevice&>(*card));
}

extern "C" __attribute__((visibility("default"))) r1::Recording* r1_plugin_library_linear(r1::Device* card,
                                                                                          const r1::Linear* op) {
  return r1::cuda::library_linear(static_cast<r1::cuda::CudaDevice&>(*card), *op).release();
}

extern "C" __attribute__((visibility("default"))) r1::Device* r1_plugin_open(int index) {
  return new r1::cuda::CudaDevice(index);
}
