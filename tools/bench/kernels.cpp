#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/hash.h"
#include "kernels/plugin.h"
#include "tools/bench/benchmarks.h"
#include "tools/bench/kernel_cases.h"

namespace r1::bench {
namespace {

constexpr double kTimedNs = 100e6;  // a case is repeated for this long, at least kLeast times
constexpr int kLeast = 3, kMost = 30;

struct Outputs {
  std::vector<std::string> names;
  std::vector<DType> types;
  std::vector<std::vector<std::byte>> bytes;
};

Outputs outputs_of(const AnyOp& any) {
  Outputs out;
  std::visit(
      [&](const auto& op) {
        for_each_view(op, [&](const View& v, ViewInfo info) {
          if (!v || info.use == Use::in) return;
          out.names.emplace_back(info.name);
          out.types.push_back(v.dtype);
          out.bytes.emplace_back(static_cast<size_t>(v.size()) * dtype_size(v.dtype));
          download(v, out.bytes.back().data(), out.bytes.back().size());
        });
      },
      any);
  return out;
}

double element(DType t, const std::vector<std::byte>& bytes, size_t i) {
  const std::byte* const p = bytes.data() + i * dtype_size(t);
  if (t == DType::bf16) {
    uint16_t h;
    std::memcpy(&h, p, sizeof h);
    return f32_from_bf16(h);
  }
  if (t == DType::i32) {
    int32_t n;
    std::memcpy(&n, p, sizeof n);
    return n;
  }
  if (t == DType::i64) {
    int64_t n;
    std::memcpy(&n, p, sizeof n);
    return static_cast<double>(n);
  }
  float f;
  std::memcpy(&f, p, sizeof f);
  return f;
}

// How far results may be apart, relative to the value and to the root mean square of its tensor. bf16 keeps 8 bits, and an op
// may round on its way; sums of some thousand f32 terms keep four digits.
double tolerance(DType data) { return data == DType::bf16 ? 0.03 : 2e-4; }

std::string difference(const Outputs& got, const Outputs& want, DType data) {
  for (size_t o = 0; o < want.names.size(); ++o) {
    const DType t = want.types[o];
    const size_t n = want.bytes[o].size() / dtype_size(t);
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += std::pow(element(t, want.bytes[o], i), 2);
    const double rms = std::sqrt(squares / static_cast<double>(std::max<size_t>(n, 1)));
    const bool exact = t == DType::i32 || t == DType::i64;
    for (size_t i = 0; i < n; ++i) {
      const double g = element(t, got.bytes[o], i), w = element(t, want.bytes[o], i);
      if (exact ? g == w : std::abs(g - w) <= tolerance(data) * (std::abs(w) + rms)) continue;
      return fmt::format("{}[{}] is {:.6g}, the reference says {:.6g}", want.names[o], i, g, w);
    }
  }
  return "";
}

Outputs run_once(const KernelCase& c, Device& device, DType type, const CaseSizes& sizes, bool parallel) {
  CaseBuffers buffers(device, type, hash_string(c.name).lo);
  const AnyOp op = c.make(buffers, sizes);
  Context ctx(device);
  ctx.parallel = parallel;
  run(ctx, op);
  return outputs_of(op);
}

// Results of the cases of a run, in a file: written by one run, read by the next.
class KeptBits {
 public:
  explicit KeptBits(const std::filesystem::path& file) {
    if (file.empty()) return;
    compares_ = std::filesystem::exists(file);
    if (compares_)
      in_.open(file, std::ios::binary);
    else
      out_.open(file, std::ios::binary);
    if (!in_.is_open() && !out_.is_open()) throw bad_input(fmt::format("--bits {}: cannot be opened", file.string()));
    file_ = file.string();
  }

  // What differs; "" where nothing is compared.
  std::string take(const KernelCase& c, const Outputs& o) {
    if (file_.empty()) return "";
    std::string note;
    for (size_t i = 0; i < o.names.size(); ++i) {
      const std::string head = fmt::format("{} {} {}\n", c.name, o.names[i], o.bytes[i].size());
      if (compares_) {
        std::string line;
        std::vector<std::byte> before(o.bytes[i].size());
        if (!std::getline(in_, line) || line + "\n" != head ||
            !in_.read(reinterpret_cast<char*>(before.data()), static_cast<std::streamsize>(before.size())))
          throw bad_input(fmt::format("--bits {}: it is of other cases than {}", file_, c.name), {},
                          "remove it, or ask for the same");
        note += (note.empty() ? "" : "; ") + differing(o.names[i], o.types[i], o.bytes[i], before);
      } else {
        out_ << head;
        out_.write(reinterpret_cast<const char*>(o.bytes[i].data()), static_cast<std::streamsize>(o.bytes[i].size()));
        if (!out_.flush()) throw failure(fmt::format("--bits {}: cannot be written", file_));
      }
    }
    return note;
  }

 private:
  static std::string differing(const std::string& name, DType t, const std::vector<std::byte>& now,
                               const std::vector<std::byte>& before) {
    const size_t each = dtype_size(t), n = now.size() / each;
    size_t count = 0;
    double most = 0, squares = 0;
    for (size_t i = 0; i < n; ++i) {
      const double a = element(t, now, i), b = element(t, before, i);
      squares += a * a;
      if (std::memcmp(&now[i * each], &before[i * each], each) == 0) continue;
      ++count;
      most = std::max(most, std::abs(a - b));
    }
    if (count == 0) return fmt::format("{}: the same bits", name);
    return fmt::format("{}: {} of {} differ, by at most {:.2g} of the root mean square", name, count, n,
                       most / std::sqrt(squares / static_cast<double>(n)));
  }

  std::string file_;
  bool compares_ = false;
  std::ifstream in_;
  std::ofstream out_;
};

Verification verify(const KernelCase& c, Device& device, DType type, const CaseSizes& timed, KeptBits& bits,
                    std::string& note) {
  const Outputs once = run_once(c, device, type, timed, true);
  note = bits.take(c, once);
  Device& reference = open_device("reference");
  const std::string wrong =
      difference(run_once(c, device, type, verified_sizes(), true), run_once(c, reference, type, verified_sizes(), true), type);
  if (!wrong.empty()) return {false, wrong};
  const bool card = is_card(device);
  if (once.bytes != run_once(c, device, type, timed, false).bytes)
    return {false, card ? "other bits the second time" : "other bits on one thread than on all"};
  return {true, fmt::format("agrees with the reference; the same bits {}", card ? "twice" : "on one thread and on all")};
}

// Of issuing and waiting for it, the caches full of other data.
double best_time(CeilingMeter& meter, Device& device, const std::function<void()>& issue) {
  device.finish();
  double best = 0, total = 0;
  for (int i = 0; i < kMost && (i < kLeast || total < kTimedNs); ++i) {
    meter.flush_caches();
    const double ns = time_ns([&] {
      issue();
      device.finish();
    });
    best = i == 0 ? ns : std::min(best, ns);
    total += ns;
  }
  return best;
}

// What a peer has to know to compute the same product: x [rows, in] by w [out, in].
void note_shape(const AnyOp& any, CaseResult& r) {
  const auto* const op = std::get_if<Linear>(&any);
  if (op == nullptr) return;
  r.numbers.emplace_back("rows", static_cast<double>(op->x.shape[0]));
  r.numbers.emplace_back("in", static_cast<double>(op->x.shape[1]));
  r.numbers.emplace_back("out", static_cast<double>(op->w.shape[0]));
}

// What a card's Linear costs for having the same bits in any company: its time beside that of cuBLASLt, which promises none.
// Not said where that is not there, or gives another result.
void compare_with_library(CeilingMeter& meter, Device& device, const AnyOp& any, CaseResult& r) {
  const auto* const op = std::get_if<Linear>(&any);
  if (op == nullptr || !is_card(device)) return;
  const Outputs ours = outputs_of(any);
  const std::unique_ptr<Recording> library = library_linear(device, *op);
  if (library == nullptr) return;
  library->run();
  device.finish();
  const std::string wrong = difference(outputs_of(any), ours, op->x.dtype);
  const double ns = wrong.empty() ? best_time(meter, device, [&] { library->run(); }) : 0;
  r.note += r.note.empty() ? "" : "; ";
  r.note += wrong.empty() ? fmt::format("{:.2f} of cuBLASLt's time", r.measured_ns / ns) : "cuBLASLt's result: " + wrong;
  if (wrong.empty()) r.numbers.emplace_back("cublaslt_ns", ns);
}

}  // namespace

std::vector<CaseResult> bench_kernels(Device& device, CeilingMeter& meter, const KernelOptions& options) {
  std::vector<CaseResult> results;
  std::vector<Work> works;  // of the results that were timed
  std::vector<const KernelCase*> chosen;
  for (const KernelCase& c : kernel_cases())
    if (c.name.find(options.filter) != std::string::npos) chosen.push_back(&c);
  if (chosen.empty()) throw bad_input(fmt::format("--filter {}: no case has this in its name", options.filter));
  KeptBits bits(options.bits);
  Ceilings ceilings = options.time ? meter.measure() : Ceilings{};
  for (const KernelCase* const one : chosen) {
    const KernelCase& c = *one;
    CaseResult r;
    r.name = c.name;
    r.threads = counted_cores(device);
    const CaseSizes sizes = options.small ? verified_sizes() : options.large ? large_sizes() : timed_sizes();
    r.verification = verify(c, device, options.type, sizes, bits, r.note);
    if (r.verification.ok && options.time) {
      CaseBuffers buffers(device, options.type, 1);
      const AnyOp op = c.make(buffers, sizes);
      Context ctx(device);
      r.measured_ns = best_time(meter, device, [&] { run(ctx, op); });
      note_shape(op, r);
      compare_with_library(meter, device, op, r);
      works.push_back(op_work(op));
    }
    results.push_back(std::move(r));
  }
  if (!options.time) return results;
  ceilings = best_of(ceilings, meter.measure());
  size_t timed = 0;
  for (CaseResult& r : results) {
    r.ceilings = ceilings;
    if (r.measured_ns == 0) continue;
    const Work& work = works[timed++];
    r.floor_ns = floor_ns(work, ceilings);
    r.floor = floor_kind(work, ceilings);
    r.numbers.emplace_back("gflops", work.flops / r.measured_ns);
    r.numbers.emplace_back("gb_per_s", work.bytes / r.measured_ns);
  }
  return results;
}

}  // namespace r1::bench
