// Cases of HashSpans, DeltaMeasure, DeltaEncode and DeltaApply: bytes, so nothing is tolerated.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/delta_format.h"
#include "tests/kernels/op_cases.h"

namespace r1::test {

namespace {

constexpr DType i32 = DType::i32, i64 = DType::i64;

int64_t chunks_of(int64_t n) { return (n + kDeltaChunk - 1) / kDeltaChunk; }

struct Versions {
  View previous, next;
};
// `next` differs from `previous` in a share of its values, by small steps or by any.
Versions versions(Buffers& b, DType t, int64_t n, double share, double step, Layout l) {
  std::vector<double> before(static_cast<size_t>(n)), after;
  for (double& x : before) x = b.rng().normal();
  after = before;
  for (double& x : after)
    if (b.rng().chance(share)) x += step * b.rng().normal();
  return {b.values(t, {n}, before, l), b.values(t, {n}, after, l)};
}

// What the encoder says, on the device itself: the op's own test is another case.
std::vector<int64_t> codes_of(Buffers& b, const View& next, const View& previous) {
  Context ctx(b.device());
  const Tensor codes(b.device(), i32, {chunks_of(next.size()), 2});
  run(ctx, DeltaMeasure{next, previous, codes});
  const std::vector<int32_t> out = download_as<int32_t>(codes);
  return {out.begin(), out.end()};
}
View codes_view(Buffers& b, const std::vector<int64_t>& codes) {
  return b.ints({static_cast<int64_t>(codes.size()) / 2, 2}, codes);
}

int64_t words_of(const std::vector<int64_t>& codes) {
  int64_t bytes = 0;
  for (size_t i = 1; i < codes.size(); i += 2) bytes += codes[i];
  return (bytes + 3) / 4;
}

}  // namespace

void add_version_cases(std::vector<OpCase>& cases) {
  for (DType t : kFloatTypes) {
    for (int64_t n : {0, 1, 33, 1000, 70'001})
      for (const bool checked : {false, true})
        cases.push_back(
            {fmt::format("HashSpans {} n={}{}", dtype_name(t), n, checked ? " checked" : ""), {}, [=](Buffers& b) -> AnyOp {
               // All, nothing, and spans that share values.
               const std::vector<int64_t> spans = {0, n, n, n, n / 3, n / 2, n / 4, n - n / 5};
               std::vector<double> x(static_cast<size_t>(n));
               for (double& e : x) e = b.rng().normal();
               if (n == 1000) x[310] = NAN, x[700] = -INFINITY;
               return HashSpans{b.ints({4, 2}, spans, i64), b.values(t, {n}, x, {.offset = 1}), b.out(i64, {4, 2}),
                                checked ? b.out(i64, {4}) : View{}};
             }});
    struct Change {
      const char* name;
      double share, step;
    };
    for (const Change& c :
         {Change{"nothing", 0, 0}, {"few", 0.002, 1e-3}, {"some", 0.05, 1e-2}, {"most", 0.6, 1e-2}, {"all", 1, 5}})
      for (int64_t n : {0, 1, 65, 3001, 66'003}) {
        const auto name = fmt::format("{} n={} {}", dtype_name(t), n, c.name);
        const Layout l{.offset = n == 65 ? 1 : 0};
        cases.push_back({"DeltaMeasure " + name, {}, [=](Buffers& b) -> AnyOp {
                           const Versions v = versions(b, t, n, c.share, c.step, l);
                           return DeltaMeasure{v.next, v.previous, b.out(i32, {chunks_of(n), 2})};
                         }});
        cases.push_back(
            {"DeltaEncode " + name, {}, [=](Buffers& b) -> AnyOp {
               const Versions v = versions(b, t, n, c.share, c.step, l);
               const auto codes = codes_of(b, v.next, v.previous);
               return DeltaEncode{
                   v.next, v.previous, codes_view(b, codes), b.out(i32, {words_of(codes)}), b.out(i64, {chunks_of(n), 2}),
                   3 * n};
             }});
        cases.push_back({"DeltaApply " + name, {}, [=](Buffers& b) -> AnyOp {
                           const Versions v = versions(b, t, n, c.share, c.step, l);
                           const auto codes = codes_of(b, v.next, v.previous);
                           const Tensor encoded(b.device(), i32, {words_of(codes)});
                           Context ctx(b.device());
                           run(ctx, DeltaEncode{v.next, v.previous, codes_view(b, codes), encoded, View{}});
                           const std::vector<int32_t> host = download_as<int32_t>(encoded);
                           return DeltaApply{codes_view(b, codes),
                                             b.ints({words_of(codes)}, {host.begin(), host.end()}),
                                             b.inout_values(t, {n}, read_values(v.previous), l),
                                             b.out(i32, {chunks_of(n)}),
                                             n == 65 ? View{} : b.out(i64, {chunks_of(n), 2}),
                                             int64_t{1} << 33};
                         }});
      }
    for (int64_t n : {1, 65'537})
      cases.push_back(
          {fmt::format("DeltaMeasure {} n={} without a previous version", dtype_name(t), n), {}, [=](Buffers& b) -> AnyOp {
             return DeltaMeasure{b.in(t, {n}), View{}, b.out(i32, {chunks_of(n), 2})};
           }});
    // Codes that promise what the payload does not hold: the values stay.
    cases.push_back({fmt::format("DeltaApply {} of codes that lie", dtype_name(t)), {}, [=](Buffers& b) -> AnyOp {
                       const int64_t n = 5 * kDeltaChunk;
                       return DeltaApply{b.ints({5, 2}, {3, 7, 9, 0, 2, 4, 1, -3, 1, 1'000'000}), b.ints({3}, {1, 2, 3}),
                                         b.inout(t, {n}), b.out(i32, {5}), b.out(i64, {5, 2})};
                     }});
  }
}

}  // namespace r1::test
