// collective_implementations.h for test_kernels_cuda: the ranks of the plugin on the emulated card, over a stand-in for NCCL.
#include <cstdlib>

#include "tests/kernels/collective_implementations.h"
#include "tests/kernels/test_devices.h"

namespace r1::test {

const std::vector<CollectiveImplementation>& collective_implementations() {
  setenv("R1_NCCL", R1_STAND_IN_NCCL, 0);
  static const std::vector<CollectiveImplementation> all = {
      {"nccl_on_an_emulated_card", test_devices()[0], 5, false, run_card_ranks}};
  return all;
}

}  // namespace r1::test
