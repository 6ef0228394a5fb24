// The devices that tests of ops run on.
//
// test_kernels: "cpu", and those that R1_TEST_DEVICES names (gpu:0,gpu:1). test_kernels_cuda: "gpu:0" over the emulated plugin,
// unless R1_CUDA_PLUGIN names another one. Thread rule: pure, after the first call.
#pragma once

#include <string>
#include <vector>

#include "kernels/device.h"

namespace r1::test {

// `reference` adds the reference, in test_kernels.
std::vector<std::string> test_devices(bool reference = false);
// test_devices(true), and in test_kernels "fake".
std::vector<std::string> every_test_device();
// "gpu:0" as a part of a test's name.
std::string device_test_name(const std::string& device);
// Whether it is the emulated card: sizes of tests shrink there.
inline bool emulated(const Device& device) { return device.fingerprint().find("emulated") != std::string::npos; }

}  // namespace r1::test
