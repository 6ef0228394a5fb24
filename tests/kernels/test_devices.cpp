#include "tests/kernels/test_devices.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace r1::test {

std::vector<std::string> test_devices(bool reference) {
  std::vector<std::string> devices = {"cpu"};
  if (const char* const more = std::getenv("R1_TEST_DEVICES")) {
    std::stringstream names(more);
    for (std::string name; std::getline(names, name, ',');)
      if (!name.empty() && std::find(devices.begin(), devices.end(), name) == devices.end()) devices.push_back(name);
  }
  if (reference) devices.push_back("reference");
  return devices;
}

std::vector<std::string> every_test_device() {
  std::vector<std::string> devices = test_devices(true);
  devices.push_back("fake");
  return devices;
}

std::string device_test_name(const std::string& device) {
  std::string name = device;
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

}  // namespace r1::test
