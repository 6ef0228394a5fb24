#include "base/hash_stream.h"

#include <xxhash.h>

#include "base/error.h"

namespace r1 {

HashStream::HashStream() : state_(XXH3_createState(), [](XXH3_state_s* state) { XXH3_freeState(state); }) {
  R1_CHECK(state_ != nullptr && XXH3_128bits_reset(state_.get()) == XXH_OK, "hash state");
}

void HashStream::add(std::string_view text) { XXH3_128bits_update(state_.get(), text.data(), text.size()); }

Hash128 HashStream::value() const {
  const XXH128_hash_t h = XXH3_128bits_digest(state_.get());
  return {h.high64, h.low64};
}

}  // namespace r1
