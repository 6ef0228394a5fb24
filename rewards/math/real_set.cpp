#include "rewards/math/real_set.h"

#include <algorithm>
#include <utility>

#include "rewards/math/compare.h"

namespace r1::math {

namespace {

using Maybe = std::optional<RealSet>;

// Order of two ends; unbounded ones by `unbounded` (-1 for low ends, +1 for high ones). Ends are real: checked where they are
// made.
int end_order(const std::optional<Number>& a, const std::optional<Number>& b, int unbounded) {
  if (!a && !b) return 0;
  if (!a) return unbounded;
  if (!b) return -unbounded;
  return order(*a, *b).value_or(0);
}

bool empty(const Interval& i) {
  if (!i.low || !i.high) return false;
  const int o = order(*i.low, *i.high).value_or(1);
  return o > 0 || (o == 0 && !(i.low_closed && i.high_closed));
}

RealSet normalised(RealSet s) {
  auto& parts = s.parts;
  std::erase_if(parts, empty);
  std::sort(parts.begin(), parts.end(), [](const Interval& a, const Interval& b) {
    const int o = end_order(a.low, b.low, -1);
    return o != 0 ? o < 0 : a.low_closed && !b.low_closed;
  });
  std::vector<Interval> out;
  for (Interval& i : parts) {
    if (!out.empty()) {
      Interval& last = out.back();
      const int gap = !last.high || !i.low ? 1 : order(*last.high, *i.low).value_or(-1);
      if (gap > 0 || (gap == 0 && (last.high_closed || i.low_closed))) {
        const int o = end_order(i.high, last.high, 1);
        if (o > 0) last.high = i.high, last.high_closed = i.high_closed;
        if (o == 0) last.high_closed |= i.high_closed;
        continue;
      }
    }
    out.push_back(std::move(i));
  }
  parts = std::move(out);
  return s;
}

std::string joint_symbol(const RealSet& a, const RealSet& b) { return a.symbol.empty() ? b.symbol : a.symbol; }

RealSet united(RealSet a, const RealSet& b) {
  a.symbol = joint_symbol(a, b);
  a.parts.insert(a.parts.end(), b.parts.begin(), b.parts.end());
  return normalised(std::move(a));
}

RealSet intersected(const RealSet& a, const RealSet& b) {
  RealSet out{{}, joint_symbol(a, b)};
  if (a.parts.size() * b.parts.size() > 256) return out;
  for (const Interval& x : a.parts)
    for (const Interval& y : b.parts) {
      Interval i = x;
      const int low = end_order(y.low, x.low, -1), high = end_order(y.high, x.high, 1);
      if (low > 0) i.low = y.low, i.low_closed = y.low_closed;
      if (low == 0) i.low_closed = x.low_closed && y.low_closed;
      if (high < 0) i.high = y.high, i.high_closed = y.high_closed;
      if (high == 0) i.high_closed = x.high_closed && y.high_closed;
      out.parts.push_back(std::move(i));
    }
  return normalised(std::move(out));
}

RealSet complement(const RealSet& a) {
  RealSet out{{}, a.symbol};
  Interval open;  // from the last end on
  for (const Interval& i : a.parts) {
    if (i.low) {
      open.high = i.low;
      open.high_closed = !i.low_closed;
      out.parts.push_back(open);
    }
    if (!i.high) return normalised(std::move(out));
    open = {i.high, std::nullopt, !i.high_closed, false};
  }
  out.parts.push_back(open);
  return normalised(std::move(out));
}

RealSet half_line(const Number& end, Operator op) {
  Interval i;
  const bool closed = op == Operator::less_equal || op == Operator::greater_equal;
  if (op == Operator::less || op == Operator::less_equal)
    i.high = end, i.high_closed = closed;
  else
    i.low = end, i.low_closed = closed;
  return {{i}, ""};
}

RealSet point(const Number& x) { return {{{x, x, true, true}}, ""}; }

bool infinite(const Node& n, int* sign) {
  *sign = n.kind == Kind::negate ? -1 : 1;
  return n.kind == Kind::infinity || (n.kind == Kind::negate && n.kids[0]->kind == Kind::infinity);
}

std::optional<Number> real_constant(const Node& n, Budget& budget) {
  Contents c;
  c.look(n);
  if (!c.scalar || !c.symbols.empty() || c.plus_minus) return std::nullopt;
  Number value = evaluate(n, {}, budget);
  if (!real_value(value)) return std::nullopt;
  return value;
}

Operator flipped(Operator op) {
  switch (op) {
    case Operator::less:
      return Operator::greater;
    case Operator::less_equal:
      return Operator::greater_equal;
    case Operator::greater:
      return Operator::less;
    case Operator::greater_equal:
      return Operator::less_equal;
    default:
      return op;
  }
}

RealSet solve_at(const Number& end, Operator op) {
  if (op == Operator::equal) return point(end);
  if (op == Operator::not_equal) return complement(point(end));
  return half_line(end, op);
}

// left op right, in one unknown that occurs linearly, or |unknown| op constant.
Maybe inequality(const Node& left, Operator op, const Node& right, Budget& budget) {
  int sign = 0;
  if (infinite(right, &sign) || infinite(left, &sign)) {  // -\infty < x holds
    const bool is_right = infinite(right, &sign);
    const Operator toward = is_right ? op : flipped(op);
    if (toward != (sign > 0 ? Operator::less : Operator::greater)) return std::nullopt;
    const Node& unknown = is_right ? left : right;
    if (unknown.kind != Kind::symbol) return std::nullopt;
    return RealSet{{Interval{}}, unknown.name};
  }
  Contents c;
  c.look(left), c.look(right);
  if (!c.scalar || c.plus_minus || c.symbols.size() != 1) return std::nullopt;
  const std::string& symbol = c.symbols.begin()->first;
  if (left.kind == Kind::call && left.name == "abs" && left.kids[0]->kind == Kind::symbol) {
    const auto bound = real_constant(right, budget);
    if (!bound) return std::nullopt;
    RealSet inside = op == Operator::less || op == Operator::less_equal
                         ? intersected(half_line(*bound, op), half_line(negate(*bound), flipped(op)))
                         : united(half_line(*bound, op), half_line(negate(*bound), flipped(op)));
    if (op == Operator::equal || op == Operator::not_equal) return std::nullopt;
    inside.symbol = symbol;
    return inside;
  }
  const auto gap = [&](long num, long den) {
    Assignment at;
    at.values[symbol] = mpq_class(num, static_cast<unsigned long>(den));
    return subtract(evaluate(left, at, budget), evaluate(right, at, budget));
  };
  const Number zero = gap(0, 1), one = gap(1, 1);
  const Number slope = subtract(one, zero);
  for (const auto& [num, den] : {std::pair<long, long>{7, 3}, {-5, 2}, {11, 1}}) {
    mpq_class x(num, static_cast<unsigned long>(den));
    if (relative_difference(gap(num, den), add(zero, multiply(slope, x))) > 1e-50) return std::nullopt;
  }
  const auto direction = order(slope, mpq_class(0));
  if (!direction || *direction == 0) return std::nullopt;
  const Number end = divide(negate(zero), slope);
  if (!real_value(end)) return std::nullopt;
  RealSet out = solve_at(end, *direction > 0 ? op : flipped(op));
  out.symbol = symbol;
  return out;
}

Maybe relation_set(const Node& n, Budget& budget) {
  Maybe out;
  for (size_t k = 0; k + 1 < n.kids.size(); ++k) {
    Maybe part;
    if (n.operators[k] == Operator::in) {
      if (n.kids[k]->kind != Kind::symbol) return std::nullopt;
      part = real_set(*n.kids[k + 1], budget);
      if (part) part->symbol = n.kids[k]->name;
    } else {
      part = inequality(*n.kids[k], n.operators[k], *n.kids[k + 1], budget);
    }
    if (!part || (out && out->symbol != part->symbol)) return std::nullopt;
    out = out ? intersected(*out, *part) : std::move(*part);
  }
  return out;
}

Maybe interval(const Node& n, Budget& budget) {
  if (n.kids.size() != 2 || n.open == '<') return std::nullopt;
  Interval i;
  int sign = 0;
  if (infinite(*n.kids[0], &sign)) {
    if (sign > 0) return std::nullopt;
  } else {
    i.low = real_constant(*n.kids[0], budget);
    if (!i.low) return std::nullopt;
    i.low_closed = n.open == '[';
  }
  if (infinite(*n.kids[1], &sign)) {
    if (sign < 0) return std::nullopt;
  } else {
    i.high = real_constant(*n.kids[1], budget);
    if (!i.high) return std::nullopt;
    i.high_closed = n.close == ']';
  }
  if (empty(i)) return std::nullopt;
  return RealSet{{i}, ""};
}

}  // namespace

bool looks_like_real_set(const Node& node) {
  switch (node.kind) {
    case Kind::set_union:
    case Kind::intersection:
    case Kind::difference:
    case Kind::builder:
    case Kind::reals:
      return true;
    case Kind::relation:
      return std::any_of(node.operators.begin(), node.operators.end(), [](Operator op) { return op != Operator::equal; });
    case Kind::bracket: {
      int sign = 0;
      return node.kids.size() == 2 && node.open != '<' &&
             ((node.open == '(') != (node.close == ')') || infinite(*node.kids[0], &sign) || infinite(*node.kids[1], &sign));
    }
    default:
      return false;
  }
}

Maybe real_set(const Node& n, Budget& budget) {
  if (!budget.spend(1)) return std::nullopt;
  switch (n.kind) {
    case Kind::reals:
      return RealSet{{Interval{}}, ""};
    case Kind::bracket:
      return interval(n, budget);
    case Kind::relation:
      return relation_set(n, budget);
    case Kind::set: {
      RealSet out;
      for (const NodePtr& kid : n.kids) {
        const auto x = real_constant(*kid, budget);
        if (!x) return std::nullopt;
        out = united(std::move(out), point(*x));
      }
      return out;
    }
    case Kind::set_union:
    case Kind::intersection:
    case Kind::difference: {
      const Maybe a = real_set(*n.kids[0], budget), b = real_set(*n.kids[1], budget);
      if (!a || !b) return std::nullopt;
      return n.kind == Kind::set_union ? united(*a, *b) : intersected(*a, n.kind == Kind::difference ? complement(*b) : *b);
    }
    case Kind::builder: {
      Maybe out;
      for (const NodePtr& condition : n.kids[1]->kids) {
        const Maybe part = real_set(*condition, budget);
        if (!part) return std::nullopt;
        out = !out ? *part : n.kids[1]->name == "or" ? united(*out, *part) : intersected(*out, *part);
      }
      if (out && n.kids[0]->kind == Kind::relation) {
        const Maybe domain = real_set(*n.kids[0], budget);
        if (!domain) return std::nullopt;
        out = intersected(*out, *domain);
      }
      if (out) out->symbol.clear();  // the letter is bound
      return out;
    }
    default: {
      const auto x = real_constant(n, budget);
      if (!x) return std::nullopt;
      return point(*x);
    }
  }
}

Maybe real_set(const std::vector<Item>& items, Budget& budget) {
  Maybe out;
  for (const Item& item : items) {
    if (!item.unit.empty() || item.percent) return std::nullopt;
    if (item.value->kind == Kind::text) {
      const std::string& words = item.value->name;
      if (items.size() == 1 && (words == "all real numbers" || words == "all reals")) return RealSet{{Interval{}}, ""};
      return std::nullopt;
    }
    const Maybe part = real_set(*item.value, budget);
    if (!part || (out && out->symbol != part->symbol)) return std::nullopt;
    const bool plain = !looks_like_real_set(*item.value);
    if (out && item.separator == ',' && !plain) return std::nullopt;
    out = !out ? *part : item.separator == '&' && !plain ? intersected(*out, *part) : united(*out, *part);
  }
  return out;
}

bool same_set(const RealSet& a, const RealSet& b, bool decimals) {
  if (!a.symbol.empty() && !b.symbol.empty() && a.symbol != b.symbol) return false;
  const auto same_end = [&](const std::optional<Number>& x, const std::optional<Number>& y) {
    return x.has_value() == y.has_value() && (!x || same_number(*x, *y, decimals));
  };
  return std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(), [&](const Interval& x, const Interval& y) {
    return x.low_closed == y.low_closed && x.high_closed == y.high_closed && same_end(x.low, y.low) && same_end(x.high, y.high);
  });
}

}  // namespace r1::math
