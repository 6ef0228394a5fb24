#include <fmt/format.h>

#include <map>
#include <memory>
#include <mutex>

#include "base/clipped.h"
#include "base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "kernels/fake/fake_device.h"
#include "kernels/host_device.h"
#include "kernels/plugin.h"
#include "kernels/reference/reference_table.h"

namespace r1 {

namespace {

const char* const kKnown[] = {"cpu", "reference", "fake"};

std::unique_ptr<Device> make_device(const std::string& name) {
  // The reference's kernels load and store whole tensors.
  if (name == "reference")
    return std::make_unique<HostDevice>(name, reference_op_table(), HostTraits{}, "reference kernels, f64");
  if (name == "cpu") return std::make_unique<HostDevice>(name, cpu_op_table(), cpu_traits(), cpu_fingerprint());
  if (name == "fake") return std::make_unique<FakeDevice>(open_device("cpu"));
  if (name.rfind("gpu:", 0) == 0) return open_plugin_device(name);
  const std::string near = nearest(name, kKnown);
  throw bad_input(fmt::format("unknown device '{}'", clipped(name)), {},
                  near.empty() ? "known: cpu, reference, fake, gpu:N" : fmt::format("did you mean '{}'?", near));
}

// Devices outlive every tensor, those in static objects of other files too: never destroyed.
struct Registry {
  std::recursive_mutex mutex;  // the fake device opens its inner one
  std::map<std::string, std::unique_ptr<Device>> devices;
};

Registry& registry() {
  static Registry* r = new Registry;
  return *r;
}

}  // namespace

Device& open_device(const std::string& asked) {
  const std::string name = asked == "gpu" ? "gpu:0" : asked;
  Registry& r = registry();
  const std::lock_guard lock(r.mutex);
  if (auto it = r.devices.find(name); it != r.devices.end()) return *it->second;
  std::unique_ptr<Device> device = make_device(name);
  return *(r.devices[name] = std::move(device));
}

}  // namespace r1
