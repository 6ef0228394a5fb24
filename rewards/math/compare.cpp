#include "rewards/math/compare.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "rewards/math/evaluate.h"
#include "rewards/math/real_set.h"
#include "rewards/math/units.h"

namespace r1::math {

namespace {

constexpr int kTries = 12, kPoints = 4;

// One value of an answer: a tree, which side of its \pm, and what stands around it.
struct View {
  const Node* node = nullptr;
  bool minus = false;
  std::string unit;
  bool percent = false;
};

bool terminating(const Number& a) {
  const mpq_class* q = exact(a);
  if (q == nullptr) return false;
  mpz_class rest = q->get_den();
  for (const unsigned long p : {2UL, 5UL}) mpz_remove(rest.get_mpz_t(), rest.get_mpz_t(), mpz_class(p).get_mpz_t());
  return rest == 1;
}

// A small rational that depends on (try, symbol) only: both signs, sizes from 1/16 to 12. `discrete`: 1 to 12.
mpq_class sample(int attempt, size_t symbol, bool discrete) {
  uint64_t h = 0x9E3779B97F4A7C15ULL * (static_cast<uint64_t>(attempt) * 131 + symbol + 1);
  h = (h ^ (h >> 31)) * 0xBF58476D1CE4E5B9ULL;
  h ^= h >> 29;
  const long a = static_cast<long>(h % 97) + 1;
  if (discrete) return mpq_class(a % 12 + 1);
  const unsigned long b = 8 + static_cast<unsigned long>((h >> 16) % 9);
  mpq_class q(attempt % 3 == 2 ? -a : a, b);
  q.canonicalize();
  return q;
}

bool literal_places(const Node& n, int* places) {
  const Node& inner = n.kind == Kind::negate ? *n.kids[0] : n;
  if (inner.kind != Kind::number || inner.places < 0) return false;
  *places = inner.places;
  return true;
}

bool has_number(const Node& n) {
  return n.kind == Kind::number || std::any_of(n.kids.begin(), n.kids.end(), [](const NodePtr& k) { return has_number(*k); });
}

bool name_like(const Node& n) {
  return n.kind == Kind::symbol || n.kind == Kind::apply || (n.kind == Kind::constant && n.name != "pi");
}

int infinity_sign(const Node& n) {
  if (n.kind == Kind::infinity) return 1;
  return n.kind == Kind::negate && n.kids[0]->kind == Kind::infinity ? -1 : 0;
}

// A relation between two sides, turned so that it is =, !=, < or <=.
struct Pair {
  const Node *left, *right;
  Operator op;
};

std::vector<Pair> pairs(const Node& relation) {
  std::vector<Pair> out;
  const auto& kids = relation.kids;
  if (std::all_of(relation.operators.begin(), relation.operators.end(), [](Operator op) { return op == Operator::equal; }))
    return {{kids.front().get(), kids.back().get(), Operator::equal}};
  for (size_t k = 0; k + 1 < kids.size(); ++k) {
    Pair p{kids[k].get(), kids[k + 1].get(), relation.operators[k]};
    if (p.op == Operator::greater || p.op == Operator::greater_equal) {
      std::swap(p.left, p.right);
      p.op = p.op == Operator::greater ? Operator::less : Operator::less_equal;
    }
    out.push_back(p);
  }
  return out;
}

class Comparison {
 public:
  bool same(const std::vector<Item>& a, const std::vector<Item>& b) {
    const auto set_like = [](const std::vector<Item>& items) {
      return std::any_of(items.begin(), items.end(), [](const Item& i) { return looks_like_real_set(*i.value); });
    };
    if (set_like(a) || set_like(b)) {
      const auto x = real_set(a, budget_), y = real_set(b, budget_);
      if (x && y) return same_set(*x, *y, decimals(a) || decimals(b));
      if (!x != !y && single_interval(x ? a : b)) return false;
    }
    if (const auto ordered = tuple_against_items(a, b)) return *ordered;
    std::vector<View> x = views(a), y = views(b);
    // "x = 1 or x = 2" is "1, 2" where the other side names no unknown.
    const auto related = [](const View& v) { return v.node->kind == Kind::relation; };
    const bool ax = std::any_of(x.begin(), x.end(), related), ay = std::any_of(y.begin(), y.end(), related);
    if (ax != ay && !strip_all(ax ? x : y)) return false;
    return matched(x, y);
  }

 private:
  static bool decimals(const std::vector<Item>& items) {
    Contents c;
    for (const Item& i : items) c.look(*i.value);
    return c.decimals;
  }
  static bool single_interval(const std::vector<Item>& items) {
    return items.size() == 1 && items[0].value->kind == Kind::set_union;
  }

  // (1, 2) against "1, 2" or "x = 1, y = 2", in order.
  std::optional<bool> tuple_against_items(const std::vector<Item>& a, const std::vector<Item>& b) {
    const auto tuple = [](const std::vector<Item>& v) { return v.size() == 1 && v[0].value->kind == Kind::bracket; };
    if (tuple(a) == tuple(b)) return std::nullopt;
    const Node& t = *(tuple(a) ? a : b)[0].value;
    const std::vector<Item>& items = tuple(a) ? b : a;
    if (items.size() != t.kids.size() || t.open != '(' || t.close != ')') return std::nullopt;
    std::vector<std::string> names;
    for (size_t k = 0; k < items.size(); ++k) {
      View item{items[k].value.get(), false, items[k].unit, items[k].percent};
      if (item.node->kind == Kind::relation) {
        const auto value = stripped(item, &names.emplace_back());
        if (!value) return false;
        item = *value;
      }
      const View part{t.kids[k].get(), false, "", false};
      if (!(tuple(a) ? same(part, item) : same(item, part))) return false;
    }
    return (names.empty() || names.size() == items.size()) && std::is_sorted(names.begin(), names.end()) &&
           std::adjacent_find(names.begin(), names.end()) == names.end();
  }

  // Every value of an answer: items, the members of a set, both sides of a \pm.
  static std::vector<View> views(const std::vector<Item>& items) {
    std::vector<View> out;
    const auto put = [&](const Node& n, const Item& item) {
      Contents c;
      c.look(n);
      out.push_back({&n, false, item.unit, item.percent});
      if (c.plus_minus) out.push_back({&n, true, item.unit, item.percent});
    };
    for (const Item& item : items) {
      const auto nested = [](const NodePtr& kid) { return kid->kind == Kind::set; };
      const auto& kids = item.value->kids;
      if (item.value->kind == Kind::set && !kids.empty() && items.size() == 1 && std::none_of(kids.begin(), kids.end(), nested))
        for (const NodePtr& kid : item.value->kids) put(*kid, item);
      else
        put(*item.value, item);
    }
    return out;
  }

  // The value of "x = 5", "5 = x", "f(x) = x + 1", "3 + 4 = 7", "a + b = 7"; `name`: of what.
  std::optional<View> stripped(const View& v, std::string* name) const {
    const Node& n = *v.node;
    for (const Operator op : n.operators)
      if (op != Operator::equal) return std::nullopt;
    const Node &first = *n.kids.front(), &last = *n.kids.back();
    const auto value = [&](const Node& node) { return View{&node, v.minus, v.unit, v.percent}; };
    Contents left, right;
    left.look(first), right.look(last);
    if (name_like(first)) {
      *name = first.name;
      return value(last);
    }
    if (name_like(last) && left.symbols.empty()) {
      *name = last.name;
      return value(first);
    }
    if (!right.symbols.empty()) return std::nullopt;
    if (left.symbols.empty() || (left.symbols.size() > 1 && !has_number(first))) return value(last);
    return std::nullopt;
  }

  bool strip_all(std::vector<View>& list) const {
    std::set<std::string> names;
    for (View& v : list) {
      if (v.node->kind != Kind::relation) continue;
      std::string name;
      const auto value = stripped(v, &name);
      if (!value) return false;
      names.insert(name);
      v = *value;
    }
    return names.size() <= 1;
  }

  bool matched(const std::vector<View>& x, const std::vector<View>& y) {
    if (x.size() != y.size()) return false;
    std::vector<bool> used(y.size());
    for (const View& v : x) {
      size_t k = 0;
      while (k < y.size() && (used[k] || !same(v, y[k]))) ++k;
      if (k == y.size() || budget_.steps <= 0) return false;
      used[k] = true;
    }
    return true;
  }

  static std::vector<View> parts(const View& v) {
    std::vector<View> out;
    for (const NodePtr& kid : v.node->kids) out.push_back({kid.get(), v.minus, "", false});
    return out;
  }
  bool same_in_order(const View& a, const View& b) {
    const auto x = parts(a), y = parts(b);
    return std::equal(x.begin(), x.end(), y.begin(), y.end(), [&](const View& p, const View& q) { return same(p, q); });
  }

  bool same(const View& a, const View& b) {
    if (!budget_.spend(1)) return false;
    const Node &x = *a.node, &y = *b.node;
    if (x.kind == Kind::relation || y.kind == Kind::relation) {
      if (x.kind == y.kind) return same_relation(a, b);
      std::string name;
      const auto value = stripped(x.kind == Kind::relation ? a : b, &name);
      if (!value) return false;
      return x.kind == Kind::relation ? same(*value, b) : same(a, *value);
    }
    const auto either = [&](Kind kind) { return x.kind == kind || y.kind == kind; };
    if (either(Kind::text)) return x.kind == y.kind && x.name == y.name;
    if (either(Kind::bracket)) {
      const auto round = [](char c) { return c == '<' ? '(' : c == '>' ? ')' : c; };
      return x.kind == y.kind && round(x.open) == round(y.open) && round(x.close) == round(y.close) && same_in_order(a, b);
    }
    if (either(Kind::matrix))
      return x.kind == y.kind && x.rows == y.rows && x.columns == y.columns && x.name == y.name && same_in_order(a, b);
    if (either(Kind::set)) return x.kind == y.kind && matched(parts(a), parts(b));
    if (looks_like_real_set(x) || looks_like_real_set(y)) {
      const auto p = real_set(x, budget_), q = real_set(y, budget_);
      return p && q && same_set(*p, *q, false);
    }
    if (const int sign = infinity_sign(x); sign != 0 || infinity_sign(y) != 0) return sign == infinity_sign(y);
    if (x.kind == Kind::ratio && y.kind == Kind::ratio) return same_ratio(a, b);
    if (y.kind == Kind::based && (x.kind != Kind::based || x.base != y.base)) return false;
    return same_quantity(a, b);
  }

  bool same_ratio(const View& a, const View& b) {
    const auto &x = a.node->kids, &y = b.node->kids;
    if (x.size() != y.size()) return false;
    const auto value = [&](const NodePtr& n) { return evaluate(*n, {}, budget_); };
    for (size_t k = 1; k < x.size(); ++k)
      if (!same_number(multiply(value(x[k]), value(y[0])), multiply(value(y[k]), value(x[0])), false)) return false;
    return true;
  }

  bool same_quantity(const View& a, const View& b) {
    if (a.percent || b.percent) {
      if (!a.unit.empty() || !b.unit.empty()) return false;
      if (a.percent && b.percent) return same_scalar(a, b, 1);
      // 40% is 0.4, and also the answer "40" to "how many percent".
      return same_scalar(a, b, 1) || same_scalar(a, b, a.percent ? mpq_class(1, 100) : mpq_class(100));
    }
    if (!a.unit.empty() && !b.unit.empty()) {
      const auto factor = conversion(a.unit, b.unit);
      return factor && same_scalar(a, b, *factor);
    }
    return same_scalar(a, b, 1) || (a.unit != b.unit && same_angle(a, b));
  }

  // 60 degrees are pi/3.
  bool same_angle(const View& a, const View& b) {
    const View &angle = a.unit.empty() ? b : a, &other = a.unit.empty() ? a : b;
    if (angle.unit != "degree" || !names_pi(*other.node)) return false;
    const Number x = multiply(evaluate(*angle.node, {}, budget_), divide(pi(), mpq_class(180)));
    return same_number(x, evaluate(*other.node, {}, budget_), false);
  }
  static bool names_pi(const Node& n) {
    return (n.kind == Kind::constant && n.name == "pi") ||
           std::any_of(n.kids.begin(), n.kids.end(), [](const NodePtr& k) { return names_pi(*k); });
  }

  // Whether a * factor is b wherever they are defined.
  bool same_scalar(const View& a, const View& b, const mpq_class& factor) {
    Contents c;
    c.look(*a.node), c.look(*b.node);
    if (!c.scalar) return false;
    int places = -1;
    if (factor == 1 && !literal_places(*a.node, &places)) literal_places(*b.node, &places);
    return at_points(c, [&](Assignment& at) {
      at.minus = a.minus;
      const Number x = multiply(evaluate(*a.node, at, budget_), factor);
      at.minus = b.minus;
      const Number y = evaluate(*b.node, at, budget_);
      if (!defined(x) && !defined(y)) return std::optional<bool>();
      return std::optional(defined(x) && defined(y) && same_number(x, y, c.decimals, places));
    });
  }

  // All points agree, and there are enough of them (one where there are no symbols).
  bool at_points(const Contents& c, const std::function<std::optional<bool>(Assignment&)>& agree) {
    int good = 0;
    const int wanted = c.symbols.empty() ? 1 : kPoints;
    for (int attempt = 0; attempt < (c.symbols.empty() ? 1 : kTries) && good < wanted; ++attempt) {
      Assignment at;
      size_t k = 0;
      for (const auto& [name, count] : c.symbols) at.values[name] = sample(attempt, k++, c.discrete);
      const std::optional<bool> verdict = agree(at);
      if (verdict && !*verdict) return false;
      good += verdict ? 1 : 0;
    }
    return good >= std::min(wanted, 3) && budget_.steps > 0;
  }

  bool same_relation(const View& a, const View& b) {
    const auto x = pairs(*a.node), y = pairs(*b.node);
    if (x.size() != y.size()) return false;
    std::vector<bool> used(y.size());
    for (const Pair& p : x) {
      size_t k = 0;
      while (k < y.size() && (used[k] || !same_pair(p, a, y[k], b))) ++k;
      if (k == y.size()) return false;
      used[k] = true;
    }
    return true;
  }

  bool same_pair(const Pair& p, const View& a, const Pair& q, const View& b) {
    if (p.op != q.op) return false;
    const auto view = [](const Node* n, const View& of) { return View{n, of.minus, of.unit, of.percent}; };
    // f(x) = ... and y = ...: what it is called does not matter where one of them is a function's name.
    if (p.op == Operator::equal && name_like(*p.left) && name_like(*q.left) &&
        (p.left->name == q.left->name || p.left->kind != q.left->kind))
      return same(view(p.right, a), view(q.right, b));
    Contents c, c2;
    c.look(*p.left), c.look(*p.right), c2.look(*q.left), c2.look(*q.right);
    const bool scalar = c.scalar && c2.scalar;
    if (!scalar) return same(view(p.left, a), view(q.left, b)) && same(view(p.right, a), view(q.right, b));
    if (c.symbols.empty() || c2.symbols.empty()) return false;
    const std::map<std::string, int> mine = c.symbols;
    if (!std::equal(mine.begin(), mine.end(), c2.symbols.begin(), c2.symbols.end(),
                    [](const auto& s, const auto& t) { return s.first == t.first; }))
      return false;
    const bool decimal = c.decimals || c2.decimals;
    std::optional<Number> ratio;
    return at_points(c, [&](Assignment& at) {
      const auto gap = [&](const Pair& side, const View& of) {
        at.minus = of.minus;
        return subtract(evaluate(*side.left, at, budget_), evaluate(*side.right, at, budget_));
      };
      const Number r = divide(gap(p, a), gap(q, b));
      if (!defined(r)) return std::optional<bool>();
      if (!ratio) {
        ratio = r;
        const auto sign = order(r, mpq_class(0));
        return std::optional(sign.has_value() && *sign != 0 &&
                             (*sign > 0 || p.op == Operator::equal || p.op == Operator::not_equal));
      }
      return std::optional(same_number(r, *ratio, decimal));
    });
  }

  Budget budget_;
};

}  // namespace

bool same_number(const Number& a, const Number& b, bool decimals, int places) {
  if (exact(a) != nullptr && exact(b) != nullptr) {
    if (*exact(a) == *exact(b)) return true;
    if (!decimals) return false;
  }
  const double relative = relative_difference(a, b);
  if (!decimals) return relative < std::ldexp(1.0, -kAgreeBits);
  if (!(relative <= kTolerance)) return false;
  const double absolute = absolute_difference(a, b);
  if (absolute <= kTolerance) return true;
  return !(terminating(a) && terminating(b)) && (places < 0 || absolute <= std::pow(10.0, -places));
}

bool same_answer(const std::vector<Item>& answer, const std::vector<Item>& accepted) {
  return Comparison().same(answer, accepted);
}

}  // namespace r1::math
