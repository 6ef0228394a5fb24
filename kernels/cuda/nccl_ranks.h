// A rank on a card (kernels/card_ranks.h). Thread rule: as there.
#pragma once

#include <memory>

#include "kernels/card_ranks.h"
#include "kernels/cuda/cuda_device.h"

namespace r1::cuda {

CardRanksId new_nccl_id();
std::unique_ptr<Collective> nccl_rank(CudaDevice& card, const CardRanksId& id, int64_t rank, int64_t ranks, double patience_s);

}  // namespace r1::cuda
