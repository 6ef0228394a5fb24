// A device whose memory is the host's: "cpu" and "reference". They differ only in their table of kernels.
// Thread rule: as Device.
#pragma once

#include <string>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace r1 {

// What kernels/device.h asks, of a table of kernels on this machine.
struct HostTraits {
  bool fast_bf16 = false, concurrent_parts = false, cheap_bf16_row_parts = false;
};

class HostDevice : public Device {
 public:
  HostDevice(std::string name, const OpTable& ops, const HostTraits& traits, std::string fingerprint)
      : name_(std::move(name)), ops_(ops), traits_(traits), fingerprint_(std::move(fingerprint)) {}

  const std::string& name() const override { return name_; }
  const OpTable& ops() const override { return ops_; }
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* p, size_t bytes) override;
  DeviceMemory memory() const override;
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  bool has_fast_bf16() const override { return traits_.fast_bf16; }
  bool concurrent_parts() const override { return traits_.concurrent_parts; }
  bool cheap_row_parts(DType t) const override { return t == DType::bf16 && traits_.cheap_bf16_row_parts; }
  std::string fingerprint() const override { return fingerprint_; }

 private:
  std::string name_;
  OpTable ops_;
  HostTraits traits_;
  std::string fingerprint_;
};

}  // namespace r1
