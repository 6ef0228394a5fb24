// The states of stages and of their roles, and the one word for each: what the run store holds and what shell, dashboard,
// metrics and report show. What the page's script compares with them (tools/dashboard/page_script.cpp), and the store's schema,
// write them once more. Thread rule: constants.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string_view>

namespace r1 {

// Of a stage, as the run store has it. failed: it came to its end and had nothing to show for it; a stage that an error ended
// stays `running`.
enum class StageStatus { waiting, running, done, failed };
inline constexpr const char* kStageStatusWords[] = {"waiting", "running", "done", "failed"};

// Of a stage, as the process has it that does it now. paused: it is running, and the run stands.
enum class StagePhase { waiting, preparing, running, summing_up, done, failed, paused };
inline constexpr const char* kStagePhaseWords[] = {"waiting", "preparing", "running", "summing up", "done", "failed", "paused"};

// Of a role of a stage that is running.
enum class RoleStatus { running, finished, failed };
inline constexpr const char* kRoleStatusWords[] = {"running", "finished", "failed"};

static_assert(std::size(kStageStatusWords) == static_cast<size_t>(StageStatus::failed) + 1);
static_assert(std::size(kStagePhaseWords) == static_cast<size_t>(StagePhase::paused) + 1);
static_assert(std::size(kRoleStatusWords) == static_cast<size_t>(RoleStatus::failed) + 1);

constexpr const char* word_of(StageStatus status) { return kStageStatusWords[static_cast<size_t>(status)]; }
constexpr const char* word_of(StagePhase phase) { return kStagePhaseWords[static_cast<size_t>(phase)]; }
constexpr const char* word_of(RoleStatus status) { return kRoleStatusWords[static_cast<size_t>(status)]; }

// waiting for a word that is none.
constexpr StageStatus stage_status_of(std::string_view word) {
  const auto* found = std::find(std::begin(kStageStatusWords), std::end(kStageStatusWords), word);
  return found == std::end(kStageStatusWords) ? StageStatus::waiting
                                              : static_cast<StageStatus>(found - std::begin(kStageStatusWords));
}

}  // namespace r1
