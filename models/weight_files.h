// What reading (models/weight_files.cpp) and writing (models/model_export.cpp, gguf_export.cpp) of stored models share. For
// these alone. Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "models/model_files.h"
#include "models/weights.h"

namespace r1 {

// Tensors are read, converted and written in pieces of this many values.
inline constexpr int64_t kPieceValues = int64_t{1} << 20;

std::vector<int64_t> part_shape(const ParamSpec&, const ParamPart&);

// The MTP module of a published checkpoint repeats the embedding and the head of the model, under names of its layer. Pairs of
// (name of the copy, name of the original).
std::vector<std::pair<std::string, std::string>> mtp_copies(const ModelConfig&);

// Presence, type and shape of every tensor: everything that headers tell. Throws bad_input naming file and tensor.
void check_tensors(const StoredModel&, const std::vector<ParamSpec>&);

}  // namespace r1
