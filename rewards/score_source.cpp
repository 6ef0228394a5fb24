#include "rewards/score_source.h"

#include <exception>

#include "base/error.h"
#include "rewards/rules.h"

namespace r1 {
namespace {

class RuleSource final : public ScoreSource {
 public:
  explicit RuleSource(std::string name) : name_(std::move(name)) {}

  void submit(std::vector<ScoreItemPtr> items, Done done) override {
    for (size_t i = 0; i < items.size(); ++i) done(i, value(*items[i]));
  }

 private:
  ScoreResult value(const ScoreItem& item) const {
    ScoreResult result;
    try {
      result.score = rule_or_flag(name_, item.input());
    } catch (const Error& e) {
      result.error = e.message();
    } catch (const std::exception& e) {
      result.error = e.what();
    }
    return result;
  }

  std::string name_;
};

}  // namespace

std::unique_ptr<ScoreSource> make_rule_source(const std::string& name) { return std::make_unique<RuleSource>(name); }

}  // namespace r1
