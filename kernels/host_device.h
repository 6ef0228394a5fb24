// A device whose memory is the host's: "cpu" and "reference". They differ only in their table of kernels.
// Thread rule: as Device.
#pragma once

#include <string>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace r1 {

class HostDevice : public Device {
 public:
  HostDevice(std::string name, const OpTable& ops, bool fast_bf16, bool concurrent_parts, std::string fingerprint)
      : name_(std::move(name)),
        ops_(ops),
        fast_bf16_(fast_bf16),
        concurrent_parts_(concurrent_parts),
        fingerprint_(std::move(fingerprint)) {}

  const std::string& name() const override { return name_; }
  const OpTable& ops() const override { return ops_; }
  std::byte* allocate(size_t bytes) override;
  void free(std::byte* p, size_t bytes) override;
  void copy_from_host(std::byte* dst, const void* src, size_t bytes) override;
  void copy_to_host(void* dst, const std::byte* src, size_t bytes) override;
  bool has_fast_bf16() const override { return fast_bf16_; }
  bool concurrent_parts() const override { return concurrent_parts_; }
  std::string fingerprint() const override { return fingerprint_; }

 private:
  std::string name_;
  OpTable ops_;
  bool fast_bf16_, concurrent_parts_;
  std::string fingerprint_;
};

}  // namespace r1
