// A picture of a run as Prometheus reads it: text format 0.0.4, names and units by its conventions (base units, _total for what
// only grows, HELP and TYPE). What was not measured is no sample. The list for users is in docs/operations.md.
// Thread rule: pure functions.
#pragma once

#include <string>

#include "tools/dashboard/run_picture.h"

namespace r1::dashboard {

inline constexpr const char* kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";

std::string prometheus_text(const RunPicture& picture);

}  // namespace r1::dashboard
