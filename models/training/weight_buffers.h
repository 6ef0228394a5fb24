// Memory of weights that go out of fashion: sets of one form that are written, shared for reading, and used again when the last
// reader has let go. Not a cache: what a set held is lost when it is taken again.
// Thread rule: take() from one thread at a time; sets may be let go on any thread, also after the buffers are gone.
#pragma once

#include <memory>

#include "models/weights.h"

namespace r1 {

class WeightBuffers {
 public:
  WeightBuffers(Device&, const ModelConfig&, DType);
  // Nobody else's, with any values (gaps are zero). Memory is allocated where none is free.
  std::shared_ptr<WeightSet> take();

 private:
  struct Free;
  Device& device_;
  ModelConfig config_;
  DType dtype_;
  std::shared_ptr<Free> free_;
};

}  // namespace r1
