#include "models/weight_transfer.h"

#include <algorithm>
#include <vector>

namespace r1 {

std::shared_ptr<WeightSet> copy_to_device(const WeightSet& from, Device& device) {
  constexpr int64_t kPart = int64_t{16} << 20;  // elements: what the host holds of a large model
  auto to = std::make_shared<WeightSet>(device, from.config(), from.dtype());
  std::vector<std::byte> host;
  const int64_t n = from.flat().size();
  for (int64_t begin = 0; begin < n; begin += kPart) {
    const int64_t end = std::min(n, begin + kPart);
    host.resize(static_cast<size_t>(end - begin) * dtype_size(from.dtype()));
    download(from.flat().slice(begin, end), host.data(), host.size());
    upload(to->flat().slice(begin, end), host.data(), host.size());
  }
  device.finish();
  return to;
}

}  // namespace r1
