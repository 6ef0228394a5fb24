#include "rewards/math/number.h"

#include <cmath>
#include <limits>

namespace r1::math {

namespace {

constexpr mpfr_rnd_t kRound = MPFR_RNDN;
constexpr long kMaxTrigExponent = 128;  // reducing a larger argument would need as many bits of pi
constexpr long kMaxFactorial = 2000;

size_t bits(const mpq_class& q) { return mpz_sizeinbase(q.get_num_mpz_t(), 2) + mpz_sizeinbase(q.get_den_mpz_t(), 2); }

Complex complex(const Number& a) {
  if (const mpq_class* q = exact(a)) return {Float(*q), Float()};
  return std::get<Complex>(a);
}

// What rounding left of an imaginary part that is 0 goes.
Number checked(Complex c) {
  if (!c.re.in_range() || !c.im.in_range()) return Undefined{};
  if (!c.im.is_zero() && !c.re.is_zero() && mpfr_get_exp(c.im.get()) < mpfr_get_exp(c.re.get()) - kPrecision + 16)
    c.im = Float();
  return c;
}

Number checked(mpq_class q) {
  if (bits(q) > kMaxBits) return checked(Complex{Float(q), Float()});
  return q;
}

Float unary(int (*f)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t), const Float& a) {
  Float out;
  f(out.get(), a.get(), kRound);
  return out;
}
Float binary(int (*f)(mpfr_ptr, mpfr_srcptr, mpfr_srcptr, mpfr_rnd_t), const Float& a, const Float& b) {
  Float out;
  f(out.get(), a.get(), b.get(), kRound);
  return out;
}
Float plus(const Float& a, const Float& b) { return binary(mpfr_add, a, b); }
Float minus(const Float& a, const Float& b) { return binary(mpfr_sub, a, b); }
Float times(const Float& a, const Float& b) { return binary(mpfr_mul, a, b); }

Complex times(const Complex& a, const Complex& b) {
  if (a.im.is_zero() && b.im.is_zero()) return {times(a.re, b.re), Float()};
  return {minus(times(a.re, b.re), times(a.im, b.im)), plus(times(a.re, b.im), times(a.im, b.re))};
}

Number exponential(const Complex& a) {
  const Float scale = unary(mpfr_exp, a.re);
  if (!scale.in_range()) return Undefined{};
  if (a.im.is_zero()) return checked(Complex{scale, Float()});
  if (mpfr_get_exp(a.im.get()) > kMaxTrigExponent) return Undefined{};
  return checked(Complex{times(scale, unary(mpfr_cos, a.im)), times(scale, unary(mpfr_sin, a.im))});
}

Number logarithm(const Complex& a) {
  if (a.re.is_zero() && a.im.is_zero()) return Undefined{};
  const Float modulus = binary(mpfr_hypot, a.re, a.im);
  return checked(Complex{unary(mpfr_log, modulus), binary(mpfr_atan2, a.im, a.re)});
}

// Exact q-th root of a rational that is a q-th power; nullopt otherwise. q > 0; a >= 0 where q is even.
std::optional<mpq_class> exact_root(const mpq_class& a, unsigned long q) {
  mpz_class top, bottom;
  if (mpz_root(top.get_mpz_t(), a.get_num_mpz_t(), q) == 0) return std::nullopt;
  if (mpz_root(bottom.get_mpz_t(), a.get_den_mpz_t(), q) == 0) return std::nullopt;
  return mpq_class(top, bottom);
}

Number exact_power(const mpq_class& a, const mpz_class& n) {
  if (a == 0) {
    if (n < 0) return Undefined{};
    return mpq_class(n == 0 ? 1 : 0);
  }
  if (a == 1) return a;
  if (a == -1) return mpq_class(mpz_even_p(n.get_mpz_t()) != 0 ? 1 : -1);
  if (mpz_fits_slong_p(n.get_mpz_t()) == 0) return Undefined{};
  const unsigned long magnitude = mpz_class(abs(n)).get_ui();
  if (magnitude <= kMaxBits && bits(a) * magnitude <= 2 * kMaxBits) {
    mpz_class top, bottom;
    mpz_pow_ui(top.get_mpz_t(), a.get_num_mpz_t(), magnitude);
    mpz_pow_ui(bottom.get_mpz_t(), a.get_den_mpz_t(), magnitude);
    mpq_class out = n < 0 ? mpq_class(bottom, top) : mpq_class(top, bottom);
    out.canonicalize();
    return checked(std::move(out));
  }
  Float out;
  const Float base(a);
  mpfr_pow_z(out.get(), base.get(), n.get_mpz_t(), kRound);
  return checked(Complex{out, Float()});
}

Number complex_power(const Complex& a, const Number& exponent) {
  if (a.re.is_zero() && a.im.is_zero()) {
    const auto e = real_value(exponent);
    if (!e || e->sign() <= 0) return Undefined{};
    return mpq_class(0);
  }
  const auto n = small_integer(exponent);
  if (n && std::labs(*n) <= 4096) {
    Complex out{Float(1), Float()}, square = a;
    for (long k = std::labs(*n); k > 0; k /= 2) {
      if (k % 2 == 1) out = times(out, square);
      square = times(square, square);
    }
    if (!defined(checked(out))) return Undefined{};
    return *n < 0 ? divide(mpq_class(1), out) : checked(out);
  }
  const Complex e = complex(exponent);
  if (a.im.is_zero() && e.im.is_zero() && a.re.sign() > 0) return checked(Complex{binary(mpfr_pow, a.re, e.re), Float()});
  const Number log = logarithm(a);
  const Number product = multiply(log, exponent);
  return defined(product) ? exponential(complex(product)) : Undefined{};
}

double to_double(const Float& a) { return mpfr_get_d(a.get(), kRound); }

Float distance(const Number& a, const Number& b) {
  const Complex x = complex(a), y = complex(b);
  return binary(mpfr_hypot, minus(x.re, y.re), minus(x.im, y.im));
}
Float modulus(const Number& a) {
  const Complex x = complex(a);
  return binary(mpfr_hypot, x.re, x.im);
}

// An integer that rounding has moved a little is that integer.
Float snapped(const Float& a) {
  Float nearest, gap;
  mpfr_rint(nearest.get(), a.get(), MPFR_RNDN);
  gap = minus(a, nearest);
  return gap.is_zero() || mpfr_get_exp(gap.get()) < -kAgreeBits ? nearest : a;
}

}  // namespace

bool Float::in_range() const {
  if (mpfr_zero_p(v_) != 0) return true;
  return mpfr_number_p(v_) != 0 && std::labs(mpfr_get_exp(v_)) < kMaxExponent;
}

std::optional<Float> real_value(const Number& a) {
  if (const mpq_class* q = exact(a)) return Float(*q);
  if (const Complex* c = std::get_if<Complex>(&a); c != nullptr && c->im.is_zero()) return c->re;
  return std::nullopt;
}

std::optional<long> small_integer(const Number& a) {
  const mpq_class* q = exact(a);
  if (q == nullptr || q->get_den() != 1 || mpz_fits_slong_p(q->get_num_mpz_t()) == 0) return std::nullopt;
  return mpz_get_si(q->get_num_mpz_t());
}

Number add(const Number& a, const Number& b) {
  if (!defined(a) || !defined(b)) return Undefined{};
  if (exact(a) != nullptr && exact(b) != nullptr) return checked(mpq_class(*exact(a) + *exact(b)));
  const Complex x = complex(a), y = complex(b);
  Complex sum{plus(x.re, y.re), plus(x.im, y.im)};
  return checked(std::move(sum));
}

Number negate(const Number& a) {
  if (!defined(a)) return Undefined{};
  if (const mpq_class* q = exact(a)) return mpq_class(-*q);
  Complex c = complex(a);
  mpfr_neg(c.re.get(), c.re.get(), kRound);
  if (!c.im.is_zero()) mpfr_neg(c.im.get(), c.im.get(), kRound);
  return c;
}

Number subtract(const Number& a, const Number& b) { return add(a, negate(b)); }

Number multiply(const Number& a, const Number& b) {
  if (!defined(a) || !defined(b)) return Undefined{};
  if (exact(a) != nullptr && exact(b) != nullptr) return checked(mpq_class(*exact(a) * *exact(b)));
  return checked(times(complex(a), complex(b)));
}

Number divide(const Number& a, const Number& b) {
  if (!defined(a) || !defined(b)) return Undefined{};
  if (const mpq_class* q = exact(b)) {
    if (*q == 0) return Undefined{};
    if (const mpq_class* p = exact(a)) return checked(mpq_class(*p / *q));
  }
  const Complex x = complex(a), y = complex(b);
  const Float square = plus(times(y.re, y.re), times(y.im, y.im));
  if (square.is_zero() || !square.in_range()) return Undefined{};
  Complex conjugate = y;
  mpfr_neg(conjugate.im.get(), conjugate.im.get(), kRound);
  const Complex product = times(x, conjugate);
  return checked(Complex{binary(mpfr_div, product.re, square), binary(mpfr_div, product.im, square)});
}

Number root(const Number& a, long degree) {
  if (!defined(a) || degree < 1 || degree > 1000) return Undefined{};
  const auto n = static_cast<unsigned long>(degree);
  if (const mpq_class* q = exact(a)) {
    const bool negative = *q < 0;
    if (!negative || degree % 2 == 1) {
      if (const auto r = exact_root(*q, n)) return *r;
    } else if (degree == 2) {
      const Number positive = root(mpq_class(-*q), 2);
      return multiply(imaginary_unit(), positive);
    }
  }
  if (const auto r = real_value(a); r && (r->sign() >= 0 || degree % 2 == 1)) {
    Float out;
    mpfr_rootn_ui(out.get(), r->get(), n, kRound);
    return checked(Complex{out, Float()});
  }
  return complex_power(complex(a), mpq_class(1, n));
}

Number power(const Number& base, const Number& exponent) {
  if (!defined(base) || !defined(exponent)) return Undefined{};
  if (const mpq_class* e = exact(exponent)) {
    if (e->get_den() == 1) {
      if (const mpq_class* b = exact(base)) return exact_power(*b, e->get_num());
    } else if (e->get_den() <= 1000 && real_value(base)) {
      const Number r = root(base, e->get_den().get_si());
      return power(r, mpq_class(e->get_num()));
    }
  }
  return complex_power(complex(base), exponent);
}

Number factorial(const Number& a) {
  const auto n = small_integer(a);
  if (!n || *n < 0 || *n > kMaxFactorial) return Undefined{};
  mpz_class out;
  mpz_fac_ui(out.get_mpz_t(), static_cast<unsigned long>(*n));
  return checked(mpq_class(out));
}

Number binomial(const Number& n, const Number& k) {
  const auto a = small_integer(n), b = small_integer(k);
  if (!a || !b || *a < 0 || *a > kMaxFactorial || *b < 0) return Undefined{};
  mpz_class out;
  mpz_bin_uiui(out.get_mpz_t(), static_cast<unsigned long>(*a), static_cast<unsigned long>(*b));
  return checked(mpq_class(out));
}

void free_caches_with_thread() {
  struct Caches {
    ~Caches() { mpfr_free_cache(); }
  };
  static thread_local const Caches caches;
  (void)caches;
}

Number pi() {
  Float out;
  mpfr_const_pi(out.get(), kRound);
  return Complex{out, Float()};
}

Number euler() { return Complex{unary(mpfr_exp, Float(1)), Float()}; }

Number imaginary_unit() { return Complex{Float(), Float(1)}; }

Number call(std::string_view name, const Number& a) {
  if (!defined(a)) return Undefined{};
  if (name == "factorial") return factorial(a);
  if (name == "exp") return exponential(complex(a));
  if (name == "ln") return logarithm(complex(a));
  if (name == "log") return divide(logarithm(complex(a)), logarithm(Complex{Float(10), Float()}));
  if (name == "abs") {
    if (const mpq_class* q = exact(a)) return mpq_class(abs(*q));
    return checked(Complex{modulus(a), Float()});
  }
  const auto x = real_value(a);
  if (!x) return Undefined{};
  if (name == "floor" || name == "ceil") {
    Float out;
    (name == "floor" ? mpfr_floor : mpfr_ceil)(out.get(), snapped(*x).get());
    if (!out.in_range() || (!out.is_zero() && mpfr_get_exp(out.get()) > kPrecision)) return Undefined{};
    mpz_class integer;
    mpfr_get_z(integer.get_mpz_t(), out.get(), kRound);
    return mpq_class(integer);
  }
  if (!x->is_zero() && mpfr_get_exp(x->get()) > kMaxTrigExponent) return Undefined{};
  struct Function {
    std::string_view name;
    int (*f)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);
  };
  static constexpr Function kFunctions[] = {{"sin", mpfr_sin},     {"cos", mpfr_cos},     {"tan", mpfr_tan},
                                            {"cot", mpfr_cot},     {"sec", mpfr_sec},     {"csc", mpfr_csc},
                                            {"arcsin", mpfr_asin}, {"arccos", mpfr_acos}, {"arctan", mpfr_atan},
                                            {"sinh", mpfr_sinh},   {"cosh", mpfr_cosh},   {"tanh", mpfr_tanh}};
  for (const Function& f : kFunctions) {
    if (name != f.name) continue;
    Complex out{unary(f.f, *x), Float()};
    if (out.re.in_range() && !out.re.is_zero() && mpfr_get_exp(out.re.get()) > kPrecision - 16) return Undefined{};  // a pole
    return checked(std::move(out));
  }
  return Undefined{};
}

double absolute_difference(const Number& a, const Number& b) {
  if (!defined(a) || !defined(b)) return std::numeric_limits<double>::infinity();
  return to_double(distance(a, b));
}

double relative_difference(const Number& a, const Number& b) {
  if (!defined(a) || !defined(b)) return std::numeric_limits<double>::infinity();
  const Float gap = distance(a, b);
  if (gap.is_zero()) return 0;
  const Float x = modulus(a), y = modulus(b);
  const Float& scale = mpfr_cmp(x.get(), y.get()) > 0 ? x : y;
  // Exact numbers may be as small as they like; what cancellation left of others is 0.
  if ((exact(a) == nullptr || exact(b) == nullptr) && mpfr_get_exp(scale.get()) < -kAgreeBits) return 0;
  return to_double(binary(mpfr_div, gap, scale));
}

std::optional<int> order(const Number& a, const Number& b) {
  if (exact(a) != nullptr && exact(b) != nullptr) return cmp(*exact(a), *exact(b));
  const auto x = real_value(a), y = real_value(b);
  if (!x || !y) return std::nullopt;
  if (relative_difference(a, b) < std::ldexp(1.0, -kAgreeBits)) return 0;
  return mpfr_cmp(x->get(), y->get());
}

}  // namespace r1::math
