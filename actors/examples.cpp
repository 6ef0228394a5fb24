#include "actors/examples.h"

#include "rewards/response.h"

namespace r1 {

Sequence tokenise_example(const Tokenizer& tokenizer, const Example& example) {
  Sequence s;
  s.tokens = tokenizer.encode(example.prompt, false);
  const size_t prompt = s.tokens.size();
  // The completion is encoded by itself, as it is when a generator writes it: no merge across the border, no second BOS.
  const std::vector<int32_t> completion = tokenizer.encode(example.completion, false);
  s.tokens.insert(s.tokens.end(), completion.begin(), completion.end());
  s.trainable.assign(s.tokens.size(), 0);
  for (size_t i = example.loss_on_prompt ? 1 : std::max<size_t>(prompt, 1); i < s.tokens.size(); ++i) s.trainable[i] = 1;
  return s;
}

std::string shown_response(const std::string& response, bool sees_answer) {
  return sees_answer ? without_thought(response) : response;
}

void append_pair(const Tokenizer& tokenizer, const Pair& pair, bool sees_answer, std::vector<Sequence>& to) {
  for (const std::string* response : {&pair.chosen, &pair.rejected})
    to.push_back(tokenise_example(tokenizer, {pair.prompt, shown_response(*response, sees_answer), false}));
}

}  // namespace r1
