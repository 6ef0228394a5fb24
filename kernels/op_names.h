// The names of all ops, by their place in AnyOp (kernels/op_views.h): for whoever counts or times calls. Thread rule: constant.
#pragma once

#include <array>
#include <cstddef>
#include <utility>
#include <variant>

#include "kernels/op_views.h"

namespace r1 {

namespace op_names_detail {
template <size_t... I>
constexpr std::array<const char*, sizeof...(I)> all(std::index_sequence<I...>) {
  return {kOpName<std::variant_alternative_t<I, AnyOp>>...};
}
}  // namespace op_names_detail

constexpr auto kOpNames = op_names_detail::all(std::make_index_sequence<std::variant_size_v<AnyOp>>());

}  // namespace r1
