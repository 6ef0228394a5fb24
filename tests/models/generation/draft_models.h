// Models whose multi-token prediction module guesses as well or as badly as a test wants.
#pragma once

#include <cmath>

#include "models/model.h"
#include "tests/models/generation/random_models.h"

namespace r1::testing {

inline ModelConfig draft_config() {
  ModelConfig c = random_model_config(Architecture::deepseek_v3);
  c.mtp_layers = 1;
  return c;
}

// What layers add to the residual stream is scaled by `noise`. With noise 0 the next token depends on the last one alone, and
// the module, which projects to the embedding of the token it is given, knows what the model will say; with noise 1 it knows
// little.
inline std::shared_ptr<WeightSet> draft_weights(Device& device, DType dtype, uint64_t seed, double noise) {
  const ModelConfig config = draft_config();
  const auto w = random_weights(device, config, DType::f32, seed);
  const ParamLayout layout = param_layout(config);
  const auto change = [&](int param, const auto& f) {
    const View view = w->param(static_cast<size_t>(param));
    std::vector<float> host = download_as<float>(view);
    for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(f(i, static_cast<double>(host[i])));
    upload(view, host);
  };
  for (const LayerParams& layer : layout.layers)
    for (const int param : {layer.o, layer.down, layer.expert_down})
      if (param >= 0) change(param, [&](size_t, double x) { return noise * x; });
  const auto hidden = static_cast<size_t>(config.hidden);
  change(layout.mtp.project, [&](size_t i, double x) { return noise * x + (i / (2 * hidden) == i % (2 * hidden) ? 1 : 0); });
  change(layout.mtp.embedding_norm, [](size_t, double) { return 1; });
  upload(w->param(static_cast<size_t>(layout.mtp.final_norm)),
         download_as<float>(w->param(static_cast<size_t>(layout.final_norm))));
  return std::make_shared<WeightSet>(convert_weights(*w, config, dtype));
}

}  // namespace r1::testing
