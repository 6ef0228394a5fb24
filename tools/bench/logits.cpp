#include "tools/bench/logits.h"

#include <fmt/format.h>

#include <istream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/output_file.h"
#include "models/training/lane.h"
#include "models/training/objective.h"

namespace r1 {
namespace {

std::vector<int32_t> read_tokens(const std::string& line, int number, const ModelConfig& config) {
  const Where where{"standard input", number};
  const nlohmann::json j = parse_json(line, where, {.hint = R"({"tokens": [1, 2, 3]} is expected)"});
  if (!j.is_object() || !j.contains("tokens") || !j["tokens"].is_array()) throw bad_input("no list \"tokens\"", where);
  std::vector<int32_t> tokens;
  for (const nlohmann::json& t : j["tokens"]) {
    const auto id = json_integer(t);
    if (!id || *id < 0 || *id >= config.vocab_size)
      throw bad_input(fmt::format("{} is no token of this model", shown_json(t)), where,
                      fmt::format("ids go from 0 to {}", config.vocab_size - 1));
    tokens.push_back(static_cast<int32_t>(*id));
  }
  if (tokens.size() < 2 || static_cast<int64_t>(tokens.size()) > config.max_positions)
    throw bad_input(fmt::format("{} tokens, expected 2 to {}", tokens.size(), config.max_positions), where);
  return tokens;
}

}  // namespace

int64_t write_logits(Device& device, const std::filesystem::path& path, DType dtype, std::istream& in,
                     const std::filesystem::path& out) {
  const auto weights = load_weights(device, path, dtype);
  const Model model(device, weights->config());
  OutputFile file(out);
  PackRules rules;
  rules.head_rows = weights->config().scalar_head ? HeadRows::last_token : HeadRows::every_token;
  Lane lane(device);
  int number = 0;
  int64_t sequences = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.empty()) continue;
    const std::vector<Sequence> one = {{read_tokens(line, number, weights->config())}};
    for (const MicroBatch& pack : r1::pack(one, rules)) {
      const PackedInput input = upload_pack(lane.ctx, pack);
      Pass pass{lane.ctx, *weights, input.attention};
      const auto values = download_as<float>(model.logits(pass, forward_rows(pass, model, input).view));
      file.write({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
      lane.ctx.arena.reset();
    }
    ++sequences;
  }
  if (sequences == 0) throw bad_input("no line came", {"standard input"}, R"({"tokens": [1, 2, 3]} is expected)");
  file.finish();
  return sequences;
}

}  // namespace r1
