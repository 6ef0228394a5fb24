// The built-in chat templates, as Jinja. Unlike some published ones they write a reply, thought and all, right behind their own
// generation prompt, so that what is taught is what is sampled. Without tools.
// Source: docs/recipe.md section 2.
// Thread rule: constants.
#pragma once

#include <span>
#include <string_view>

namespace r1 {

struct ChatFamily {
  std::string_view name;
  std::string_view source;                 // Jinja
  std::string_view end;                    // the token that ends a reply
  std::span<const std::string_view> tags;  // one token each in the tokenizers of the family, `end` among them
};

// Two names may mean the same family.
std::span<const ChatFamily> chat_families();

}  // namespace r1
