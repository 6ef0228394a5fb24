#include "tasks/tiny/sources.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "tasks/chat_template.h"
#include "tasks/tiny/documents.h"

namespace r1 {

namespace tiny {

const std::vector<WorldKnob>& world_knobs() {
  static const std::vector<WorldKnob> knobs = {
      {"find", &WorldOptions::find, 0, 1},
      {"general", &WorldOptions::general, 0, 1},
      {"reasoning", &WorldOptions::reasoning, 0, 1},
      {"find_min", &WorldOptions::find_min, 2, 5},
      {"giveup", &WorldOptions::giveup, 0, 1},
      {"giveup_docs", &WorldOptions::giveup_docs, 0, 1},
      {"find_no_thought", &WorldOptions::find_no_thought, 0, 1},
      {"verdict_first", &WorldOptions::verdict_first, 0, 1},
      {"error", &WorldOptions::error, 0, 1},
      {"error_docs", &WorldOptions::error_docs, 0, 1},
      {"clean", &WorldOptions::clean, 0, 1},
      {"mixing", &WorldOptions::mixing, 0, 1},
      {"terse", &WorldOptions::terse, 0, 1},
      {"courteous", &WorldOptions::courteous, 0, 1},
      {"refuse", &WorldOptions::refuse, 0, 1},
  };
  return knobs;
}

}  // namespace tiny

namespace {

using tiny::Side;
using tiny::WorldOptions;

Prompt scenario_prompt(Rng& rng, const WorldOptions& o, Side side) {
  return rng.chance(o.reasoning) ? tiny::reasoning_prompt(rng, o, side) : tiny::general_prompt(rng, side);
}

struct Entry {
  const char* name;
  Side side;
  Prompt (*prompt)(Rng&, const WorldOptions&, Side);
  Example (*example)(Rng&, const WorldOptions&);
  Pair (*pair)(Rng&, Side);
  std::vector<const char*> knobs;  // those that matter here
};

const std::vector<Entry>& entries() {
  static const auto general = [](Rng& rng, const WorldOptions&, Side side) { return tiny::general_prompt(rng, side); };
  static const std::vector<Entry> all = {
      {"tiny:pretrain",
       Side::train,
       nullptr,
       tiny::pretrain_document,
       nullptr,
       {"find", "general", "find_min", "giveup", "giveup_docs", "find_no_thought", "verdict_first", "error", "error_docs",
        "clean", "mixing"}},
      {"tiny:cold_start",
       Side::train,
       nullptr,
       tiny::cold_start_example,
       nullptr,
       {"find", "find_min", "giveup", "giveup_docs", "verdict_first", "terse"}},
      {"tiny:general", Side::train, nullptr, tiny::general_example, nullptr, {"courteous", "refuse"}},
      {"tiny:reasoning", Side::train, tiny::reasoning_prompt, nullptr, nullptr, {"find", "find_min"}},
      {"tiny:reasoning_test", Side::held_out, tiny::reasoning_prompt, nullptr, nullptr, {"find", "find_min"}},
      {"tiny:general_prompts", Side::train, general, nullptr, nullptr, {}},
      {"tiny:general_test", Side::held_out, general, nullptr, nullptr, {}},
      {"tiny:all_scenarios", Side::train, scenario_prompt, nullptr, nullptr, {"reasoning", "find", "find_min"}},
      {"tiny:all_scenarios_test", Side::held_out, scenario_prompt, nullptr, nullptr, {"reasoning", "find", "find_min"}},
      {"tiny:helpful_pairs", Side::train, nullptr, nullptr, tiny::helpful_pair, {}},
      {"tiny:helpful_pairs_test", Side::held_out, nullptr, nullptr, tiny::helpful_pair, {}},
      {"tiny:harmless_pairs", Side::train, nullptr, nullptr, tiny::harmless_pair, {}},
      {"tiny:harmless_pairs_test", Side::held_out, nullptr, nullptr, tiny::harmless_pair, {}},
  };
  return all;
}

class TinySource final : public Source {
 public:
  TinySource(const Entry& entry, WorldOptions options, uint64_t seed) : entry_(entry), options_(options), seed_(seed) {}

  RecordKind kind() const override {
    return entry_.prompt != nullptr ? RecordKind::prompt : entry_.example != nullptr ? RecordKind::example : RecordKind::pair;
  }
  std::optional<uint64_t> size() const override { return std::nullopt; }

  Prompt prompt(uint64_t index) const override {
    R1_CHECK(entry_.prompt != nullptr, entry_.name);
    Rng rng(seed_, entry_.name, index);
    Prompt out = entry_.prompt(rng, options_, entry_.side);
    out.conversation = Conversation::of_user(tiny::prompt_words_of(out.text)).text();
    return out;
  }
  Example example(uint64_t index) const override {
    R1_CHECK(entry_.example != nullptr, entry_.name);
    Rng rng(seed_, entry_.name, index);
    return entry_.example(rng, options_);
  }
  Pair pair(uint64_t index) const override {
    R1_CHECK(entry_.pair != nullptr, entry_.name);
    Rng rng(seed_, entry_.name, index);
    return entry_.pair(rng, entry_.side);
  }
  std::vector<std::string> texts(uint64_t index) const override {
    return kind() == RecordKind::prompt ? std::vector<std::string>{tiny::prompt_words_of(prompt(index).text)} : Source::texts(index);
  }

 private:
  const Entry& entry_;
  WorldOptions options_;
  uint64_t seed_;
};

WorldOptions read_options(const Entry& entry, const SourceSpec& spec, const std::string& whole) {
  WorldOptions options;
  for (const auto& [key, value] : spec.options) {
    const std::vector<std::string> known(entry.knobs.begin(), entry.knobs.end());
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      if (known.empty()) throw bad_input(fmt::format("source '{}': {} has no options", whole, entry.name));
      unknown_option(whole, key, known);
    }
    for (const tiny::WorldKnob& knob : tiny::world_knobs())
      if (key == knob.name) options.*knob.field = option_number(whole, key, value, knob.low, knob.high);
  }
  if (options.find_min != std::floor(options.find_min))
    throw bad_input(fmt::format("source '{}': find_min={} is not a whole number", whole, options.find_min));
  return options;
}

}  // namespace

std::unique_ptr<Source> open_tiny(const SourceSpec& spec, const std::string& whole, uint64_t seed) {
  for (const Entry& entry : entries())
    if (spec.name == entry.name) return std::make_unique<TinySource>(entry, read_options(entry, spec, whole), seed);
  return nullptr;
}

std::vector<std::string> tiny_source_names() {
  std::vector<std::string> out;
  for (const Entry& entry : entries()) out.emplace_back(entry.name);
  return out;
}

}  // namespace r1
