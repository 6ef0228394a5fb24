// The scheduler with drafts that a test chooses, on a model made of hashes: a row writes the hash of its token and position to
// its page, a token is a hash of everything written before. So whatever a rejected draft leaves behind, shows.
#include <gtest/gtest.h>

#include <array>
#include <map>

#include "base/rng.h"
#include "models/generation/scheduler.h"

namespace r1 {
namespace {

constexpr uint64_t kFewTokens = 9;  // small: drafts taken at random are right now and then

enum class Guess { none, right, wrong, any, stop, wrong_for_request_0 };

class HashModel {
 public:
  HashModel(const GeneratorConfig& config, Guess guess) : scheduler(config, 400, 0), guess_(guess) {}

  Scheduler scheduler;

  std::vector<GenResult> step() {
    const StepPlan& plan = scheduler.plan();
    pages_.resize(static_cast<size_t>(scheduler.pool().touched()));
    copy(plan.copies_before);
    std::vector<std::vector<SampledToken>> tokens;
    for (const StepPlan::Batch& b : plan.batches) tokens.push_back(run(b));
    copy(plan.copies_after);
    return scheduler.commit(tokens);
  }

 private:
  using Page = std::array<uint64_t, kKeyBlock>;

  void copy(const std::vector<PageCopy>& copies) {
    for (const PageCopy& c : copies) pages_[static_cast<size_t>(c.to)] = pages_[static_cast<size_t>(c.from)];
  }
  uint64_t& written(int32_t slot, int32_t position) {
    const auto at = static_cast<size_t>(slot * scheduler.table_width() + position / kKeyBlock);
    const int32_t page = scheduler.page_table()[at];
    EXPECT_GT(scheduler.pool().refs(page), 0);
    return pages_.at(static_cast<size_t>(page))[static_cast<size_t>(position % kKeyBlock)];
  }
  // The token after `context`, and what would follow that.
  static int32_t token(uint64_t context, int64_t key) {
    return static_cast<int32_t>(rng_key(context, "token", static_cast<uint64_t>(key)) % kFewTokens);
  }
  static uint64_t extended(uint64_t context, uint64_t row) { return rng_key(context, "row", row); }
  static uint64_t row_hash(int32_t id, int32_t position) {
    return rng_key(static_cast<uint64_t>(id), "id", static_cast<uint64_t>(position));
  }

  std::vector<SampledToken> run(const StepPlan::Batch& b) {
    for (size_t i = 0; i < b.ids.size(); ++i) written(b.slots[i], b.positions[i]) = row_hash(b.ids[i], b.positions[i]);
    std::vector<SampledToken> out;
    for (size_t i = 0; i < b.emits.size(); ++i) {
      const auto row = static_cast<size_t>(b.logit_rows[i]);
      const GenSample& s = *b.emits[i];
      const int32_t position = b.positions[row];
      uint64_t context = 0;
      for (int32_t p = 0; p <= position; ++p) context = extended(context, written(b.slots[row], p));
      SampledToken& t = out.emplace_back();
      t.token = token(context, s.key);
      t.logp = -static_cast<float>(context >> 40);
      const int32_t right = token(extended(context, row_hash(t.token, position + 1)), s.key);
      const auto other = static_cast<int32_t>(rng_key(context, "guess") % kFewTokens);
      const Guess guess = guess_ != Guess::wrong_for_request_0 ? guess_ : s.group->request.id == 0 ? Guess::wrong : Guess::none;
      t.draft = guess == Guess::none    ? -1
                : guess == Guess::right ? right
                : guess == Guess::wrong ? static_cast<int32_t>((static_cast<uint64_t>(right) + 1) % kFewTokens)
                : guess == Guess::stop  ? 0
                                        : other;
      if (b.drafts[i] >= 0) {
        EXPECT_EQ(b.emits[i - 1], &s);
        EXPECT_EQ(b.logit_rows[i], b.logit_rows[i - 1] + 1) << "rows of a sample stand together";
        EXPECT_EQ(b.ids[row], b.drafts[i]);
        EXPECT_LE(position + 2, s.longest()) << "the page table ends there";
      }
    }
    return out;
  }

  Guess guess_;
  std::vector<Page> pages_;
};

std::vector<GenRequest> requests_for(uint64_t seed, int count) {
  Rng rng(seed, "requests");
  std::vector<GenRequest> requests;
  for (int i = 0; i < count; ++i) {
    GenRequest& r = requests.emplace_back();
    r.id = static_cast<uint64_t>(i);
    r.rng_key = rng_key(seed, "draw", r.id);
    const uint64_t length = i % 3 == 2 ? 16 * (1 + rng.below(3)) : 1 + rng.below(40);
    for (uint64_t t = 0; t < length; ++t) r.prompt.push_back(static_cast<int32_t>(rng.below(kFewTokens)));
    r.samples = 1 + static_cast<int>(rng.below(5));
    r.max_new_tokens = 1 + static_cast<int64_t>(rng.below(40));
    if (rng.chance(0.5)) r.stop_ids = {0};
  }
  return requests;
}

std::map<uint64_t, GenResult> results_of(HashModel& model, const std::vector<GenRequest>& requests) {
  for (const GenRequest& r : requests) model.scheduler.submit(r);
  std::map<uint64_t, GenResult> results;
  for (int steps = 0; model.scheduler.pending() > 0 && steps < 100'000; ++steps)
    for (GenResult& r : model.step()) results[r.id] = std::move(r);
  EXPECT_EQ(model.scheduler.pool().used(), 0);
  return results;
}

TEST(DraftScheduler, drafts_right_and_wrong_give_the_same_sequences) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const auto requests = requests_for(seed, 14);
    HashModel plain({}, Guess::none);
    const auto expected = results_of(plain, requests);
    ASSERT_EQ(expected.size(), requests.size());
    for (const Guess guess : {Guess::right, Guess::wrong, Guess::any, Guess::stop}) {
      for (uint64_t trial = 0; trial < 12; ++trial) {
        Rng rng(trial, "trial");
        GeneratorConfig c{.draft = true};
        c.max_rows = 1 + static_cast<int64_t>(rng.below(60));
        c.max_running = 1 + static_cast<int64_t>(rng.below(20));
        c.kv_pages = trial % 2 == 0 ? 0 : 6 + static_cast<int64_t>(rng.below(12));
        c.page_shuffle_seed = trial;
        HashModel model(c, guess);
        const auto results = results_of(model, requests);
        const GeneratorStats& stats = model.scheduler.stats();
        ASSERT_EQ(results.size(), requests.size());
        for (const auto& [id, x] : expected) {
          EXPECT_EQ(results.at(id).finished, x.finished);
          for (size_t s = 0; s < x.samples.size(); ++s) {
            ASSERT_EQ(results.at(id).samples[s].tokens, x.samples[s].tokens) << "request " << id << " sample " << s;
            ASSERT_EQ(results.at(id).samples[s].behaviour_logp, x.samples[s].behaviour_logp);
          }
        }
        EXPECT_EQ(stats.tokens_generated, plain.scheduler.stats().tokens_generated);
        if (guess == Guess::right) {
          EXPECT_EQ(stats.tokens_accepted, stats.tokens_drafted);
        }
        if (guess == Guess::wrong) {
          EXPECT_EQ(stats.tokens_accepted, 0);
        }
        if (guess == Guess::any && c.max_rows > 4) {
          EXPECT_GT(stats.tokens_accepted, 0);
        }
        if (c.max_rows > 4) {
          EXPECT_GT(stats.tokens_drafted, 0);
        }
      }
    }
  }
}

TEST(DraftScheduler, right_guesses_halve_the_steps_and_wrong_ones_cost_none) {
  GenRequest r;
  r.prompt = {1, 2, 3};
  r.samples = 6;
  r.max_new_tokens = 33;
  HashModel plain({}, Guess::none), right({.draft = true}, Guess::right), wrong({.draft = true}, Guess::wrong);
  for (HashModel* m : {&plain, &right, &wrong}) results_of(*m, {r});
  EXPECT_EQ(plain.scheduler.stats().steps, 33);
  EXPECT_EQ(wrong.scheduler.stats().steps, 33);
  EXPECT_EQ(right.scheduler.stats().steps, 17);
  EXPECT_EQ(wrong.scheduler.stats().tokens_drafted, 6 * 31) << "all but the first and the last";
  EXPECT_EQ(wrong.scheduler.stats().tokens_recomputed, 0) << "a rejected row is not computed again";
  // Without a row to spare nothing is drafted, with one to spare nobody waits for it.
  HashModel full({.max_rows = 6, .draft = true}, Guess::wrong), one({.max_rows = 7, .draft = true}, Guess::wrong);
  for (HashModel* m : {&full, &one}) results_of(*m, {r});
  EXPECT_EQ(full.scheduler.stats().tokens_drafted, 0);
  EXPECT_EQ(full.scheduler.stats().steps, 33);
  EXPECT_EQ(one.scheduler.stats().tokens_drafted, 31);
  EXPECT_EQ(one.scheduler.stats().steps, 33);
}

TEST(DraftScheduler, rows_of_a_draft_that_was_right_are_recomputed_after_a_flip_and_others_never_were) {
  GenRequest r;
  r.prompt = {1, 2, 3};
  for (const Guess guess : {Guess::right, Guess::wrong}) {
    HashModel model({.draft = true}, guess);
    model.scheduler.submit(r);
    model.step();
    model.step();
    model.scheduler.flip(1);
    while (model.scheduler.pending() > 0) model.step();
    EXPECT_EQ(model.scheduler.stats().tokens_recomputed, guess == Guess::right ? 5 : 4);
  }
}

// Three pages. When the younger sample needs its second one - for its last row - the older one's draft would be the first row
// of its own second page: it must wait, or the younger one is preempted.
TEST(DraftScheduler, a_draft_takes_no_page_that_another_sample_needs) {
  GenRequest older, younger;
  older.prompt = {1, 2, 3};
  older.max_new_tokens = 27;
  younger.id = 1;
  younger.prompt = {1, 2, 3, 4};
  younger.max_new_tokens = 14;
  for (const Guess guess : {Guess::none, Guess::wrong_for_request_0}) {
    HashModel model({.kv_pages = 3, .draft = true}, guess);
    results_of(model, {older, younger});
    EXPECT_EQ(model.scheduler.stats().peak_pages, 3);
    EXPECT_EQ(model.scheduler.stats().tokens_recomputed, 0);
    EXPECT_EQ(model.scheduler.stats().steps, 27);
    EXPECT_EQ(model.scheduler.stats().tokens_drafted > 0, guess != Guess::none);
  }
}

}  // namespace
}  // namespace r1
