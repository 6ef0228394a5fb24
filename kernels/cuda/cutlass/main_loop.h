// CUTLASS's warp-specialised main loops over wgmma and TMA, with an end of our own that stores to any address: for one product
// and for a list of them. Only nvcc sees this, for sm_90a; an instance takes it half a minute and 2 GB.
#pragma once

#include <cute/tensor.hpp>
#include <cutlass/cutlass.h>
#include <cutlass/epilogue/collective/detail.hpp>
#include <cutlass/epilogue/dispatch_policy.hpp>
#include <cutlass/epilogue/thread/linear_combination.h>
#include <cutlass/gemm/collective/collective_builder.hpp>
#include <cutlass/gemm/device/gemm_universal_adapter.h>
#include <cutlass/gemm/group_array_problem_shape.hpp>
#include <cutlass/gemm/kernel/gemm_universal.hpp>

#include "kernels/cuda/cutlass/instances.h"

namespace r1::cuda::wgmma {

using Number = cutlass::bfloat16_t;

// The collective of an epilogue that takes no shared memory, as CUTLASS's own DefaultEpilogue and DefaultEpilogueArray are.
// kList: `to` of a product of a list is in device memory.
template <Form kForm, bool kList>
class Store {
 public:
  using DispatchPolicy =
      cute::conditional_t<kList, cutlass::epilogue::PtrArrayNoSmemWarpSpecialized, cutlass::gemm::EpilogueDefault>;
  using EpilogueSchedule = DispatchPolicy;
  // Nothing reads these: the kernels ask for them to have names. As elsewhere, a pointer to strides says "a list".
  using InternalStrideC = cute::Stride<int64_t, cute::Int<1>, cute::Int<0>>;
  using InternalStrideD = InternalStrideC;
  using StrideC = cute::conditional_t<kList, InternalStrideC*, InternalStrideC>;
  using StrideD = StrideC;
  using ElementC = void;
  using ElementD = float;
  using ElementAccumulator = float;
  using ElementCompute = float;
  using ElementOutput = float;
  using ThreadEpilogueOp = cutlass::epilogue::thread::LinearCombination<float, 1, float, float>;
  using GmemTiledCopyC = void;
  using GmemTiledCopyD = void;
  struct SharedStorage {};
  using TensorStorage = SharedStorage;
  using TensorMapStorage = SharedStorage;

  struct Arguments {
    Target target;
    cute::conditional_t<kList, void* const*, void*> to;
  };
  using Params = Arguments;

  template <class Shape>
  static constexpr Params to_underlying_arguments(const Shape&, const Arguments& a, void*) {
    return a;
  }
  template <class Shape>
  static size_t get_workspace_size(const Shape&, const Arguments&, int = 0) {
    return 0;
  }
  template <class Shape>
  static cutlass::Status initialize_workspace(const Shape&, const Arguments&, void*, cudaStream_t,
                                              cutlass::CudaHostAdapter* = nullptr) {
    return cutlass::Status::kSuccess;
  }
  template <class Shape>
  static bool can_implement(const Shape&, const Arguments&) {
    return true;
  }

  CUTLASS_HOST_DEVICE explicit Store(const Params& p) : params_(p) {}

  CUTLASS_DEVICE bool is_source_needed() { return false; }

  template <class Shape, class TileShape, class Coordinates, class Engine, class Layout, class Mma, class Residue>
  CUTLASS_DEVICE void operator()(Shape shape, TileShape tile_shape, Coordinates at, const cute::Tensor<Engine, Layout>& sums,
                                 Mma mma, Residue, int thread, char*) {
    using namespace cute;
    const auto [tile_m, tile_n, tile_k, item] = at;
    const auto m_end = get<0>(shape), n_end = get<1>(shape);
    void* to;
    if constexpr (kList)
      to = params_.to[item];
    else
      to = params_.to;
    const auto places =
        local_tile(make_identity_tensor(make_shape(m_end, n_end)), take<0, 2>(tile_shape), make_coord(tile_m, tile_n));
    const auto own = mma.get_thread_slice(thread).partition_C(places);
    // The accumulators of m64nNk16 come in neighbours of a row.
    static_assert(decltype(size<0, 0>(sums.layout()))::value == 2);
    CUTE_STATIC_ASSERT_V(size(own) == size(sums));
    CUTLASS_PRAGMA_UNROLL
    for (int i = 0; i < size(sums); i += 2) {
      const auto [m, n] = own(i);
      if (m < m_end && n < n_end) store_sums<kForm>(params_.target, to, m, n, n_end, sums(i), sums(i + 1));
    }
  }

 private:
  Params params_;
};
template <Form kForm, bool kList>
using End = cutlass::epilogue::collective::detail::Sm90TmaWarpSpecializedAdapter<Store<kForm, kList>>;

// How operands of a form lie, in CUTLASS's words: a is [M, K], b is [N, K].
template <Form kForm>
using LayoutA = cute::conditional_t<kForm == Form::backward_weight, cutlass::layout::ColumnMajor, cutlass::layout::RowMajor>;
template <Form kForm>
using LayoutB = cute::conditional_t<kForm == Form::forward, cutlass::layout::ColumnMajor, cutlass::layout::RowMajor>;

// Clusters of blocks that share loads: two tiles of M one of B, two of N one of A.
using Alone = cute::Shape<cute::_1, cute::_1, cute::_1>;
using TwoOfM = cute::Shape<cute::_2, cute::_1, cute::_1>;
using TwoOfN = cute::Shape<cute::_1, cute::_2, cute::_1>;
// Two warp groups share a tile, or take tiles in turn: one stores while the other multiplies.
using Cooperative = cutlass::gemm::KernelTmaWarpSpecializedCooperative;
using Pingpong = cutlass::gemm::KernelTmaWarpSpecializedPingpong;

// Stages, of which there are as many as fit, are of 64 of depth in every instance: four steps of wgmma.
template <class A, class B, class Tile, class Cluster, class Schedule>
using MainLoop =
    typename cutlass::gemm::collective::CollectiveBuilder<cutlass::arch::Sm90, cutlass::arch::OpClassTensorOp, Number, A, 8,
                                                          Number, B, 8, float, Tile, Cluster,
                                                          cutlass::gemm::collective::StageCountAuto, Schedule>::CollectiveOp;
template <int kM, int kN>
using TileOf = cute::Shape<cute::Int<kM>, cute::Int<kN>, cute::_64>;

// How rows of `row` elements lie, as a stride of CUTLASS's: one of its numbers is the row, the other one 1.
template <class Stride>
Stride stride_of(int64_t row) {
  Stride s{};
  if constexpr (cute::is_static<cute::remove_cvref_t<decltype(cute::get<0>(s))>>::value)
    cute::get<1>(s) = row;
  else
    cute::get<0>(s) = row;
  return s;
}

template <class Kernel>
void launch_kernel(const Card& card, const typename Kernel::Arguments& arguments, void* workspace) {
  static_assert(Kernel::SharedStorageSize <= cutlass::gemm::collective::detail::sm90_smem_capacity_bytes);
  cutlass::gemm::device::GemmUniversalAdapter<Kernel> gemm;
  // Not can_implement: it wants numbers of columns that are multiples of 8, of which TMA only wants strides to be.
  cutlass::Status status = gemm.initialize(arguments, workspace, card.stream);
  if (status == cutlass::Status::kSuccess) status = gemm.run(card.stream);
  if (status != cutlass::Status::kSuccess) refused(cutlass::cutlassGetStatusString(status));
}

// How many tiles of N run beside each other, so that what they share of A is in the cache: CUTLASS fills the tiles up to a
// multiple of it, with ones that compute nothing in as much time.
inline int swizzle_of(int64_t m_tiles, int64_t n_tiles, int cluster_m, int cluster_n) {
  const auto filled = [](int64_t x, int64_t to) { return (x + to - 1) / to * to; };
  const int64_t least = filled(m_tiles, cluster_m) * filled(n_tiles, cluster_n);
  for (const int s : {8, 4, 2})
    if (filled(m_tiles, s * cluster_m) * filled(n_tiles, s * cluster_n) * 32 <= least * 33) return s;
  return 1;
}

template <Form kForm, int kM, int kN, class Cluster, class Schedule>
void run_one(const Card& card, const Product& p) {
  using Loop = MainLoop<LayoutA<kForm>, LayoutB<kForm>, TileOf<kM, kN>, Cluster, Schedule>;
  using Kernel = cutlass::gemm::kernel::GemmUniversal<cute::Shape<int, int, int, int>, Loop, End<kForm, false>>;
  typename Kernel::Arguments arguments{cutlass::gemm::GemmUniversalMode::kGemm,
                                       {static_cast<int>(p.m), static_cast<int>(p.n), static_cast<int>(p.depth), 1},
                                       {reinterpret_cast<const Number*>(p.a.p), stride_of<typename Kernel::StrideA>(p.a.row),
                                        reinterpret_cast<const Number*>(p.b.p), stride_of<typename Kernel::StrideB>(p.b.row)},
                                       {p.target, p.to}};
  arguments.hw_info.sm_count = card.multiprocessors;
  arguments.scheduler.max_swizzle_size =
      swizzle_of((p.m + kM - 1) / kM, (p.n + kN - 1) / kN, cute::size<0>(Cluster{}), cute::size<1>(Cluster{}));
  if (Kernel::get_workspace_size(arguments) != 0) refused("it wants a workspace");
  launch_kernel<Kernel>(card, arguments, nullptr);
}

// Tiles of 128 x 128, whatever an expert has of rows: TMA reads none beyond them.
template <Form kForm>
struct List {
  using Loop = MainLoop<LayoutA<kForm>*, LayoutB<kForm>*, TileOf<128, 128>, TwoOfN,
                        cutlass::gemm::KernelPtrArrayTmaWarpSpecializedCooperative>;
  using Kernel = cutlass::gemm::kernel::GemmUniversal<cutlass::gemm::GroupProblemShape<cute::Shape<int, int, int>>, Loop,
                                                      End<kForm, true>>;

  static typename Kernel::Arguments arguments(const Card& card, const ProductList& l) {
    // What CUTLASS takes arrays of, ProductList has as plain numbers.
    using Shape = typename Kernel::ProblemShape::UnderlyingProblemShape;
    using StrideA = typename Kernel::InternalStrideA;
    using StrideB = typename Kernel::InternalStrideB;
    static_assert(sizeof(Shape) == 3 * sizeof(int32_t) && sizeof(StrideA) == sizeof(int64_t) &&
                  sizeof(StrideB) == sizeof(int64_t));
    typename Kernel::Arguments a{cutlass::gemm::GemmUniversalMode::kGrouped,
                                 {l.count, reinterpret_cast<Shape*>(l.shapes), nullptr},
                                 {reinterpret_cast<const Number**>(l.a), reinterpret_cast<StrideA*>(l.a_row),
                                  reinterpret_cast<const Number**>(l.b), reinterpret_cast<StrideB*>(l.b_row)},
                                 {l.target, l.to}};
    a.hw_info.sm_count = card.multiprocessors;
    return a;
  }
  static size_t workspace_bytes(const Card& card, const ProductList& l) {
    return Kernel::get_workspace_size(arguments(card, l));
  }
  static void run(const Card& card, const ProductList& l, void* workspace) {
    launch_kernel<Kernel>(card, arguments(card, l), workspace);
  }
};

}  // namespace r1::cuda::wgmma
