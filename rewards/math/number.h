// Numbers of a mathematical answer: an exact rational as long as the operations allow it, else a complex number of 256 bits.
// Not a computer algebra system: an irrational constant is its value to 256 bits, and two constants written without decimals
// are the same when they agree to kAgreeBits of them. That is no proof, but no two expressions of an answer's size are known to
// be that near and different. Every operation is bounded: a rational beyond kMaxBits becomes a Complex, and what has an
// exponent beyond kMaxExponent is undefined. Thread rule: values; every thread may have its own (MPFR keeps its constants per
// thread).
#pragma once

#include <gmpxx.h>
#include <mpfr.h>

#include <optional>
#include <string_view>
#include <variant>

namespace r1::math {

constexpr mpfr_prec_t kPrecision = 256;
constexpr int kAgreeBits = 180;
constexpr size_t kMaxBits = 1 << 15;    // of a numerator or denominator: about 10,000 digits
constexpr long kMaxExponent = 1 << 16;  // binary exponent of a Float

// What MPFR keeps for this thread (constants, pools) goes with the thread. Called before a thread computes; again: nothing.
void free_caches_with_thread();

// An mpfr_t of kPrecision bits that cleans up after itself.
class Float {
 public:
  Float() { mpfr_init2(v_, kPrecision), mpfr_set_zero(v_, 1); }
  explicit Float(long value) { mpfr_init2(v_, kPrecision), mpfr_set_si(v_, value, MPFR_RNDN); }
  explicit Float(const mpq_class& value) { mpfr_init2(v_, kPrecision), mpfr_set_q(v_, value.get_mpq_t(), MPFR_RNDN); }
  Float(const Float& other) { mpfr_init2(v_, kPrecision), mpfr_set(v_, other.v_, MPFR_RNDN); }
  Float& operator=(const Float& other) {
    mpfr_set(v_, other.v_, MPFR_RNDN);
    return *this;
  }
  ~Float() { mpfr_clear(v_); }

  mpfr_ptr get() { return v_; }
  mpfr_srcptr get() const { return v_; }
  bool is_zero() const { return mpfr_zero_p(v_) != 0; }
  int sign() const { return mpfr_sgn(v_); }
  // Finite, and within kMaxExponent.
  bool in_range() const;

 private:
  mpfr_t v_;
};

struct Complex {
  Float re, im;
};

struct Undefined {};  // outside a function's domain, or beyond the bounds

using Number = std::variant<Undefined, mpq_class, Complex>;

inline bool defined(const Number& a) { return !std::holds_alternative<Undefined>(a); }
inline const mpq_class* exact(const Number& a) { return std::get_if<mpq_class>(&a); }
// The value of a number that is real; nullopt for others.
std::optional<Float> real_value(const Number& a);
// The value where it is an exact integer that fits a long.
std::optional<long> small_integer(const Number& a);

Number add(const Number& a, const Number& b);
Number subtract(const Number& a, const Number& b);
Number multiply(const Number& a, const Number& b);
Number divide(const Number& a, const Number& b);
Number negate(const Number& a);
// Principal value, except that an odd root of a negative number is the real one.
Number power(const Number& base, const Number& exponent);
Number root(const Number& a, long degree);
// sin, cos, tan, cot, sec, csc, arcsin, arccos, arctan, sinh, cosh, tanh, exp, ln, log (base 10), abs, floor, ceil, factorial;
// else undefined.
Number call(std::string_view name, const Number& a);
Number binomial(const Number& n, const Number& k);
Number pi();
Number euler();
Number imaginary_unit();

// |a - b| / max(|a|, |b|) as a double (0 when both are within 2^-kAgreeBits of 0); infinity when one of them is undefined.
double relative_difference(const Number& a, const Number& b);
double absolute_difference(const Number& a, const Number& b);
// Sign of a - b of two real numbers; nullopt when one is not real.
std::optional<int> order(const Number& a, const Number& b);

}  // namespace r1::math
