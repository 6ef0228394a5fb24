#include "models/tokenizer/tokenizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "models/tokenizer/tokenizer_impl.h"
#include "models/tokenizer/utf8.h"

namespace r1 {

namespace {

bool is_ascii(std::string_view s) {
  for (const char c : s)
    if (static_cast<uint8_t>(c) >= 0x80) return false;
  return true;
}

std::string to_form(NormalForm form, const std::string& text) {
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::nfc || form == NormalForm::nfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::nfkc || form == NormalForm::nfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()), &out,
                   static_cast<utf8proc_option_t>(options));
  if (size < 0) throw failure(std::string("normalising text: ") + utf8proc_errmsg(size));
  std::string result(reinterpret_cast<const char*>(out), static_cast<size_t>(size));
  std::free(out);
  return result;
}

}  // namespace

std::string Tokenizer::Impl::normalize(std::string_view text) const {
  std::string out(text);
  if (is_ascii(text)) return out;  // ASCII is its own form in all four
  for (const NormalForm form : normalizer) out = to_form(form, out);
  return out;
}

Tokenizer Tokenizer::from_json(std::string_view json, const std::string& name_for_errors) {
  return Tokenizer(parse_tokenizer_json(json, name_for_errors));
}

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  if (std::error_code none; !std::filesystem::is_regular_file(path, none))
    throw bad_input("no such file", {path.string()}, "expected a Hugging Face tokenizer.json");
  return from_json(read_small_file(path, kMaxTokenizerBytes), path.string());
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  const Impl& impl = *impl_;
  std::string repaired;
  if (!utf8::is_valid(text)) text = repaired = utf8::replace_malformed(text);

  std::vector<int32_t> ids;
  if (add_special_tokens) ids = impl.prefix;
  std::vector<TextPiece> raw, pieces;
  impl.raw_tokens.split(text, raw);
  std::deque<std::string> storage;
  for (const TextPiece& piece : raw) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
      continue;
    }
    std::string_view normal = piece.text;
    if (!impl.normalizer.empty()) normal = storage.emplace_back(impl.normalize(normal));
    pieces.clear();
    impl.normalized_tokens.split(normal, pieces);
    for (const TextPiece& plain : pieces) {
      if (plain.id >= 0) {
        ids.push_back(plain.id);
        continue;
      }
      for (const std::string_view word : pre_tokenize(impl.pre_tokenizer, plain.text, storage)) impl.bpe.encode(word, ids);
    }
    storage.clear();
  }
  if (add_special_tokens) ids.insert(ids.end(), impl.suffix.begin(), impl.suffix.end());
  return ids;
}

std::string Tokenizer::decode_bytes(std::span<const int32_t> ids, bool skip_special) const {
  const auto& byte_of = utf8::byte_alphabet().byte_of;
  std::string out, bytes;
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size() || (skip_special && impl_->special[id])) continue;
    const std::string& token = impl_->tokens[id];
    bytes.clear();
    bool mapped = true;  // a token with a character outside the byte alphabet stands for its own text
    for (std::string_view rest = token; !rest.empty() && mapped;) {
      const auto c = utf8::decode(rest);
      mapped = c.code_point < byte_of.size() && byte_of[c.code_point] >= 0;
      if (mapped) bytes += static_cast<char>(byte_of[c.code_point]);
      rest.remove_prefix(c.length);
    }
    out += mapped ? bytes : token;
  }
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes = decode_bytes(ids, skip_special);
  return utf8::is_valid(bytes) ? bytes : utf8::replace_malformed(bytes);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view token) const {
  if (const auto it = impl_->added_ids.find(token); it != impl_->added_ids.end()) return it->second;
  if (const auto it = impl_->bpe.vocab.find(token); it != impl_->bpe.vocab.end()) return it->second;
  return std::nullopt;
}

std::optional<std::string> Tokenizer::token_of(int32_t id) const {
  if (id < 0 || id >= vocab_size() || impl_->tokens[id].empty()) return std::nullopt;
  return impl_->tokens[id];
}

bool Tokenizer::is_special(int32_t id) const { return id >= 0 && id < vocab_size() && impl_->special[id]; }

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }

const std::string& Tokenizer::json() const { return impl_->json; }

}  // namespace r1
