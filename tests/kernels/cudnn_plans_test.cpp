// Whether cuDNN accepts attention's backward as the CUDA plugin asks for it, for an H100 and without a card: its heuristics and
// its engines are asked, up to the code that a driver would load. Only where cuDNN's front end was there at build time.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>

#include "kernels/cuda/cudnn/graph.h"

namespace cudnn_frontend {
void* cudnn_dlhandle = nullptr;
}

namespace r1::cuda {
namespace {

namespace fe = cudnn_frontend;

// What cuDNN wants to know of a card, as of an H100.
constexpr const char* kH100 =
    R"({"deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0,
  "multiProcessorCount": 132, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "warpSize": 32,
  "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "maxCtasPerSM": 32,
  "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024,
  "l2CacheSize": 52428800, "totalGlobalMem": 85000000000, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
  "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1})";

// Queries, keys and values side by side in a row, as the models' blocks have them; with v_head a latent model's.
PackedBackward backward(int64_t heads, int64_t kv_heads, int64_t d, int64_t dv, int64_t slots, int64_t longest, int64_t rows,
                        int64_t v_head = 0) {
  const int64_t row = v_head > 0 ? heads * d : (heads + 2 * kv_heads) * d;
  const Operand q{nullptr, heads, d, row, d, nullptr}, k{nullptr, kv_heads, d, row, d, nullptr};
  const Operand v = v_head > 0 ? Operand{nullptr, kv_heads, dv, kv_heads * v_head, v_head, nullptr}
                               : Operand{nullptr, kv_heads, dv, row, dv, nullptr};
  const Operand o{nullptr, heads, dv, heads * dv, dv, nullptr}, lse{nullptr, heads, 1, heads, 1, nullptr};
  return {{q, k, v, o, o, lse, q, k, v}, nullptr, slots, rows, longest, 0.125F};
}

class CudnnPlans : public testing::Test {
 protected:
  void SetUp() override {
    if (fe::cudnn_dlhandle == nullptr) fe::cudnn_dlhandle = open_cudnn();
    if (fe::cudnn_dlhandle == nullptr) GTEST_SKIP() << "no libcudnn.so.9 (R1_CUDNN names it)";
    // It looks for a driver, and the toolkit's stand-in is enough of one here.
    if (dlopen("libcuda.so.1", RTLD_NOW) == nullptr && dlopen(R1_CUDA_STUB, RTLD_NOW) == nullptr)
      GTEST_SKIP() << "neither a driver nor CUDA's stand-in for one";
    const std::string text = kH100;
    ASSERT_TRUE(card_->deserialize({text.begin(), text.end()}).is_good());
  }
  // "": accepted.
  std::string refusal(const PackedBackward& a) {
    const auto graph = packed_backward_graph(a);
    graph->set_sm_count(132).set_device_properties(card_);
    fe::error_t e = graph->validate();
    if (e.is_good()) e = graph->build_operation_graph();
    if (e.is_good()) e = graph->create_execution_plans({fe::HeurMode_t::A});
    if (e.is_good()) e = graph->check_support();
    return e.is_good() ? "" : e.get_message() + " ";
  }
  std::shared_ptr<fe::DeviceProperties> card_ = std::make_shared<fe::DeviceProperties>();
};

TEST_F(CudnnPlans, deterministic_packed_backward_is_accepted_in_the_head_sizes_of_our_models) {
  EXPECT_EQ(refusal(backward(9, 3, 64, 64, 8, 1024, 4096)), "") << "SmolLM2-135M";
  EXPECT_EQ(refusal(backward(14, 2, 64, 64, 1, 4096, 4096)), "") << "Qwen2.5-0.5B, one long sequence";
  EXPECT_EQ(refusal(backward(16, 8, 128, 128, 32, 512, 5120)), "") << "Qwen3-0.6B";
  EXPECT_EQ(refusal(backward(16, 16, 192, 128, 4, 1024, 2048, 256)), "") << "DeepSeek-V2-Lite";
  EXPECT_EQ(refusal(backward(4, 2, 24, 24, 3, 128, 128)), "") << "a small model";
  EXPECT_EQ(refusal(backward(2, 1, 24, 16, 1, 640, 640, 40)), "") << "small heads with fewer values";
}

TEST_F(CudnnPlans, heads_that_are_no_multiple_of_8_are_refused) {
  EXPECT_NE(refusal(backward(4, 2, 20, 20, 3, 128, 128)).find("multiple of 8"), std::string::npos);
}

}  // namespace
}  // namespace r1::cuda
