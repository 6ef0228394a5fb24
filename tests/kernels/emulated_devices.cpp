// test_devices.h for test_kernels_cuda.
#include <algorithm>
#include <cstdlib>

#include "tests/kernels/test_devices.h"

namespace r1::test {

std::vector<std::string> test_devices(bool) {
  setenv("R1_CUDA_PLUGIN", R1_EMULATED_PLUGIN, 0);
  return {"gpu:0"};
}

std::vector<std::string> every_test_device() { return test_devices(); }

std::string device_test_name(const std::string& device) {
  std::string name = device;
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

}  // namespace r1::test
