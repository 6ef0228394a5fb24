// cudnn_attention.h in a build that had no front end of cuDNN: nobody may ask for it.
#include "base/error.h"
#include "kernels/cuda/cudnn_attention.h"

namespace r1::cuda {

const std::string& cudnn_version() {
  throw bad_input("R1_CUDA_ATTENTION_BACKWARD is 'cudnn', and this plugin was built without cuDNN's front end", {},
                  "own, or a build with R1_CUDNN_FRONTEND_INCLUDE (docs/gpu.md)");
}
void cudnn_backward(Context&, const PackedBackward&) {
  R1_CHECK(false, "attention's backward by cuDNN, which is not compiled in");
}

}  // namespace r1::cuda
