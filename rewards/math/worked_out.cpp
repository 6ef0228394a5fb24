#include "rewards/math/worked_out.h"

#include <algorithm>

namespace r1::math {

namespace {

const Node& unsigned_part(const Node& n) { return n.kind == Kind::negate ? unsigned_part(*n.kids[0]) : n; }

bool plain(const Node& tree) {
  const Node& n = unsigned_part(tree);
  return n.kind == Kind::number || n.kind == Kind::based;
}

bool fraction(const Node& tree) {
  const Node& n = unsigned_part(tree);
  return n.kind == Kind::divide && plain(*n.kids[0]) && plain(*n.kids[1]);
}

bool power_of_ten(const Node& n) {
  return n.kind == Kind::power && plain(*n.kids[0]) && n.kids[0]->value == 10 && plain(*n.kids[1]);
}

// An integer and a fraction below 1, with a + between them or without.
bool mixed_number(const Node& tree) {
  const Node& n = unsigned_part(tree);
  if (n.kind != Kind::add || n.kids.size() != 2) return false;
  const Node &whole = *n.kids[0], &part = *n.kids[1];
  return whole.kind == Kind::number && part.kind == Kind::divide && fraction(part) && part.kids[0]->kind == Kind::number &&
         part.kids[1]->kind == Kind::number && part.kids[0]->value < part.kids[1]->value;
}

bool plain_number(const Node& tree) {
  const Node& n = unsigned_part(tree);
  return plain(n) || fraction(n) || power_of_ten(n) || mixed_number(n) ||
         (n.kind == Kind::multiply && n.kids.size() == 2 && plain(*n.kids[0]) && power_of_ten(*n.kids[1]));
}

// Numbers and nothing but +, -, * and / between them; `computes`: one of these is no fraction's.
bool arithmetic(const Node& n, bool& computes) {
  switch (n.kind) {
    case Kind::number:
    case Kind::based:
      return true;
    case Kind::add:
    case Kind::multiply:
      computes = computes || !mixed_number(n);
      break;
    case Kind::divide:
    case Kind::negate:
      break;
    default:
      return false;
  }
  return std::all_of(n.kids.begin(), n.kids.end(), [&](const NodePtr& k) { return arithmetic(*k, computes); });
}

}  // namespace

bool left_to_compute(const std::vector<Item>& answer, const std::vector<Item>& accepted) {
  if (answer.size() != 1 || accepted.size() != 1 || !plain_number(*accepted[0].value)) return false;
  const Node& said = *answer[0].value;
  // 94 + 41 = 135 says it; x = 94 + 41 does not.
  bool left = false;
  const auto look = [&left](const Node& side) {
    bool computes = false;
    if (!arithmetic(side, computes)) return true;
    left = left || computes;
    return computes;
  };
  if (said.kind != Kind::relation) return look(said) && left;
  return std::all_of(said.kids.begin(), said.kids.end(), [&](const NodePtr& side) { return look(*side); }) && left;
}

bool has_operation(const std::vector<Item>& answer, const std::vector<Item>& accepted) {
  const bool for_integer = std::any_of(accepted.begin(), accepted.end(), [](const Item& item) {
    return plain(*item.value) && unsigned_part(*item.value).value.get_den() == 1;
  });
  return std::any_of(answer.begin(), answer.end(), [&](const Item& item) {
    if (fraction(*item.value)) return for_integer;
    switch (unsigned_part(*item.value).kind) {
      case Kind::add:
      case Kind::multiply:
      case Kind::divide:
      case Kind::power:
      case Kind::plus_minus:
      case Kind::call:
      case Kind::log_base:
      case Kind::root:
      case Kind::binomial:
      case Kind::relation:
        return true;
      default:
        return false;
    }
  });
}

}  // namespace r1::math
