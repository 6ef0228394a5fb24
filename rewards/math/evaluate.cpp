#include "rewards/math/evaluate.h"

namespace r1::math {

Number evaluate(const Node& node, const Assignment& at, Budget& budget) {
  // Irrational functions cost about ten times as much as products.
  const bool dear =
      node.kind == Kind::call || node.kind == Kind::power || node.kind == Kind::root || node.kind == Kind::log_base;
  if (!budget.spend(dear ? 10 : 1)) return Undefined{};
  const auto kid = [&](size_t k) { return evaluate(*node.kids[k], at, budget); };
  switch (node.kind) {
    case Kind::number:
    case Kind::based:
      return node.value;
    case Kind::symbol:
    case Kind::apply: {
      const auto it = at.values.find(node.name);
      if (it == at.values.end()) return Undefined{};
      return it->second;
    }
    case Kind::constant:
      return node.name == "pi" ? pi() : node.name == "e" ? euler() : imaginary_unit();
    case Kind::add:
      return add(kid(0), kid(1));
    case Kind::multiply:
      return multiply(kid(0), kid(1));
    case Kind::ratio:
      if (node.kids.size() != 2) return Undefined{};
      [[fallthrough]];
    case Kind::divide:
      return divide(kid(0), kid(1));
    case Kind::power:
      if (node.kids[0]->kind == Kind::constant && node.kids[0]->name == "e") return call("exp", kid(1));
      return power(kid(0), kid(1));
    case Kind::negate:
      return negate(kid(0));
    case Kind::plus_minus: {
      const bool minus = at.minus != (node.name == "-");
      if (node.kids.size() == 1) return minus ? negate(kid(0)) : kid(0);
      return minus ? subtract(kid(0), kid(1)) : add(kid(0), kid(1));
    }
    case Kind::call:
      return call(node.name, kid(0));
    case Kind::log_base: {
      const Number base = call("ln", kid(0));
      return divide(call("ln", kid(1)), base);
    }
    case Kind::root: {
      const auto degree = small_integer(kid(0));
      return degree ? root(kid(1), *degree) : power(kid(1), divide(mpq_class(1), kid(0)));
    }
    case Kind::binomial:
      return binomial(kid(0), kid(1));
    case Kind::percent:
      return divide(kid(0), mpq_class(100));
    case Kind::degree:
      return multiply(kid(0), divide(pi(), mpq_class(180)));
    default:
      return Undefined{};
  }
}

void Contents::look(const Node& node) {
  switch (node.kind) {
    case Kind::number:
      decimals |= node.places >= 0;
      break;
    case Kind::symbol:
    case Kind::apply:
      ++symbols[node.name];
      if (node.kind == Kind::apply) return;
      break;
    case Kind::plus_minus:
      plus_minus = true;
      break;
    case Kind::call:
      discrete |= node.name == "factorial";
      break;
    case Kind::binomial:
      discrete = true;
      break;
    case Kind::infinity:
    case Kind::text:
    case Kind::bracket:
    case Kind::set:
    case Kind::builder:
    case Kind::matrix:
    case Kind::relation:
    case Kind::set_union:
    case Kind::intersection:
    case Kind::difference:
    case Kind::reals:
    case Kind::list:
      scalar = false;
      break;
    default:
      break;
  }
  for (const NodePtr& kid : node.kids) look(*kid);
}

}  // namespace r1::math
