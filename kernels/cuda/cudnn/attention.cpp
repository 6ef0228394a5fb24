// Attention's backward by cuDNN (cudnn_attention.h). Handles and plans are a host thread's own, as its streams are.
#include <fmt/format.h>

#include <bit>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "kernels/cuda/cuda_device.h"
#include "kernels/cuda/cudnn/graph.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace r1::cuda {
namespace {

namespace fe = cudnn_frontend;

void check(fe::error_t e, const char* what) {
  if (e.is_bad())
    throw failure(fmt::format("cuDNN failed at {}: {}", what, e.get_message()), {}, "R1_CUDA_ATTENTION_BACKWARD=own");
}
void check(cudnnStatus_t e, const char* what) {
  if (e != CUDNN_STATUS_SUCCESS)
    throw failure(fmt::format("cuDNN failed at {}: {}", what, fe::detail::get_error_string(e)), {},
                  "R1_CUDA_ATTENTION_BACKWARD=own");
}

// The plans of a host thread on a device.
class Plans {
 public:
  Plans() { check(fe::detail::create_handle(&handle_), "cudnnCreate"); }
  ~Plans() { static_cast<void>(fe::detail::destroy_handle(handle_)); }
  Plans(const Plans&) = delete;
  Plans& operator=(const Plans&) = delete;

  cudnnHandle_t on(cudaStream_t stream) {
    check(fe::detail::set_stream(handle_, stream), "cudnnSetStream");
    return handle_;
  }
  fe::graph::Graph& of(const PackedBackward& a) {
    std::vector<int64_t> key{a.slots, a.rows, a.longest, std::bit_cast<int32_t>(a.scale)};
    for (const Operand& x : a.operands) key.insert(key.end(), {x.heads, x.features, x.row, x.head});
    std::shared_ptr<fe::graph::Graph>& plan = plans_[key];
    if (plan == nullptr) {
      const auto graph = packed_backward_graph(a);
      check(graph->build(handle_, {fe::HeurMode_t::A}), "a plan of attention's backward");
      plan = graph;
    }
    return *plan;
  }

 private:
  cudnnHandle_t handle_ = nullptr;
  std::map<std::vector<int64_t>, std::shared_ptr<fe::graph::Graph>> plans_;
};
thread_local std::map<const Device*, Plans> t_plans;

}  // namespace

const std::string& cudnn_version() {
  static const std::string version = [] {
    fe::cudnn_dlhandle = open_cudnn();
    if (fe::cudnn_dlhandle == nullptr)
      throw bad_input("R1_CUDA_ATTENTION_BACKWARD is 'cudnn', and libcudnn.so.9 is not found", {},
                      "install it, name the file in R1_CUDNN, or own");
    const size_t v = fe::detail::get_backend_version();
    std::string text = fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
    if (v < 91900)
      throw bad_input("R1_CUDA_ATTENTION_BACKWARD is 'cudnn', and the cuDNN that was found is " + text, {},
                      "9.19 or later is needed");
    return text;
  }();
  return version;
}

void cudnn_backward(Context& ctx, const PackedBackward& a) {
  auto& device = static_cast<CudaDevice&>(*ctx.device);
  const cudaStream_t stream = device.stream().stream();  // the thread is on the card
  Plans& plans = t_plans[&device];
  const fe::graph::Graph& plan = plans.of(a);
  std::unordered_map<int64_t, void*> pointers{{kLengths, const_cast<int32_t*>(a.lengths)},
                                              {kKeyLengths, const_cast<int32_t*>(a.lengths)}};
  for (size_t j = 0; j < kOperands; ++j) {
    pointers[tensor_of(j)] = a.operands[j].data;
    pointers[offsets_of(j)] = const_cast<int64_t*>(a.operands[j].first);
  }
  int64_t bytes = 0;
  check(plan.get_workspace_size(bytes), "a plan's workspace");
  const Arena::Mark mark = ctx.arena.mark();
  std::byte* const workspace = ctx.arena.alloc(DType::i64, {bytes / 8 + 1}).data;
  check(plan.execute(plans.on(stream), pointers, workspace), "attention's backward");
  ctx.arena.release(mark);
}

}  // namespace r1::cuda
