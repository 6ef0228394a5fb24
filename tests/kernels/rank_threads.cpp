#include <thread>

#include "base/error.h"
#include "kernels/card_ranks.h"
#include "tests/kernels/collective_implementations.h"

namespace r1::test {

std::vector<std::string> run_rank_threads(Device& device, int64_t ranks,
                                          const std::function<std::unique_ptr<Collective>(int64_t rank)>& make,
                                          const RankBody& body) {
  std::vector<std::string> errors(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int64_t r = 0; r < ranks; ++r)
    threads.emplace_back([&, r] {
      try {
        const std::unique_ptr<Collective> mine = make(r);
        Context ctx(device);
        body(*mine, ctx);
      } catch (const Error& e) {
        errors[static_cast<size_t>(r)] = e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  return errors;
}

std::vector<std::string> run_card_ranks(Device& card, int64_t ranks, const RankBody& body) {
  const CardRanksId id = new_card_ranks_id(card);
  return run_rank_threads(
      card, ranks, [&](int64_t r) { return card_ranks(card, id, r, ranks, 60); }, body);
}

}  // namespace r1::test
