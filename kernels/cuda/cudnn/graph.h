// The graph that cuDNN makes a plan of for PackedBackward. Header of cudnn/attention.cpp and of the test that has cuDNN accept
// it without a card. Whoever includes this defines cudnn_frontend::cudnn_dlhandle, the open library.
#pragma once

#include <cudnn_frontend.h>
#include <dlfcn.h>

#include <cstdlib>
#include <vector>

#include "kernels/cuda/cudnn_attention.h"

namespace r1::cuda {

// R1_CUDNN, or where the loader and CUDA have it; null: nowhere.
inline void* open_cudnn() {
  // From 9.25 on: sums of dq in order, instead of a workspace that grows with the square of the rows.
  setenv("CUDNN_FRONTEND_ATTN_DP_WORKSPACE_LIMIT", "0", 0);
  void* library = nullptr;
  for (const char* name :
       {static_cast<const char*>(std::getenv("R1_CUDNN")), "libcudnn.so.9", "/usr/local/cuda/lib64/libcudnn.so.9"})
    if (name != nullptr && library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  return library;
}

// Names of a graph's tensors: operand j is j + 1, its offsets come kOperands later.
inline int64_t tensor_of(size_t operand) { return static_cast<int64_t>(operand) + 1; }
inline int64_t offsets_of(size_t operand) { return tensor_of(operand) + kOperands; }
inline constexpr int64_t kLengths = 2 * kOperands + 1, kKeyLengths = kLengths + 1;

// For sm_90: else the front end would ask the current card, by a shared library of CUDA's runtime. Pointers are left alone.
inline std::shared_ptr<cudnn_frontend::graph::Graph> packed_backward_graph(const PackedBackward& a) {
  namespace fe = cudnn_frontend;
  using fe::graph::Tensor_attributes;
  const auto graph = std::make_shared<fe::graph::Graph>();
  graph->set_io_data_type(fe::DataType_t::BFLOAT16)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT)
      .set_sm_version(90);
  const auto list = [&](int64_t name, int64_t n, fe::DataType_t type) {
    return graph->tensor(Tensor_attributes().set_uid(name).set_dim({n, 1, 1, 1}).set_stride({1, 1, 1, 1}).set_data_type(type));
  };
  const auto shape = [&](size_t j, auto& tensor) -> auto& {
    const Operand& x = a.operands[j];
    return tensor.set_uid(tensor_of(j))
        .set_dim({a.slots, x.heads, a.longest, x.features})
        .set_stride({a.longest * x.row, x.head, x.row, 1})
        .set_ragged_offset(list(offsets_of(j), a.slots + 1, fe::DataType_t::INT64));
  };
  std::vector<std::shared_ptr<Tensor_attributes>> in;
  for (size_t j = kQ; j <= kLse; ++j) {
    Tensor_attributes x;
    in.push_back(graph->tensor(shape(j, x).set_data_type(j == kLse ? fe::DataType_t::FLOAT : fe::DataType_t::BFLOAT16)));
  }
  auto options = fe::graph::SDPA_backward_attributes()
                     .set_attn_scale(a.scale)
                     .set_padding_mask(true)
                     .set_seq_len_q(list(kLengths, a.slots, fe::DataType_t::INT32))
                     .set_seq_len_kv(list(kKeyLengths, a.slots, fe::DataType_t::INT32))
                     .set_max_total_seq_len_q(a.rows)
                     .set_max_total_seq_len_kv(a.rows)
                     .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
                     .set_diagonal_band_right_bound(0)
                     .set_deterministic_algorithm(true);
  const auto out = graph->sdpa_backward(in[kQ], in[kK], in[kV], in[kO], in[kDo], in[kLse], std::move(options));
  for (size_t i = 0; i < out.size(); ++i) shape(kDq + i, *out[i]).set_output(true);
  return graph;
}

}  // namespace r1::cuda
