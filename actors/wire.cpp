#include "actors/wire.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>

#include "actors/codec.h"
#include "actors/messages.h"
#include "models/model_config.h"
#include "runtime/flow/msgpack.h"
#include "runtime/net/link.h"

namespace r1 {
namespace {

using Pack = msgpack::packer<msgpack::sbuffer>;

// Tokens, log-probabilities and sequences share frames, each with its size before it: with a frame each, a batch of a million
// samples would have a million frames. No packet that a process can hold has more of these than kMaxPacketFrames.
constexpr size_t kFrameBytes = size_t{64} << 20;  // one that has as many is full
static_assert(kFrameBytes >= kMaxPacketBytes / kMaxPacketFrames);
using BlobSize = uint64_t;

// Numbers of type double go as their bits: msgpack writes whole ones as integers, and -0 would come back as 0.
// Each struct is taken apart by a structured binding, so that a member which is added and not coded here does not compile.
class Encoder {
 public:
  Encoder() : pack_(out_) {}

  void prompt(const PromptMessage& m) {
    const auto& [draw, prompt_index, text, tokens, facts, conversation, dropped] = m;
    pack_.pack_array(6);
    pack_.pack(draw);
    pack_.pack(prompt_index);
    pack_.pack(text);
    pack_.pack(facts);
    pack_.pack(conversation);
    pack_.pack(dropped);
    raw(tokens);
  }

  // `asked` of what follows: the question that it answers; then its number stands in its place.
  void trajectories(const TrajectoriesMessage& m, const Payload* asked = nullptr) {
    const auto& [of, samples, finished] = m;
    pack_.pack_array(3);
    if (of.get() == asked)
      pack_.pack(asked->number());
    else
      prompt(*of);
    pack_.pack(samples.size());
    for (const Sequence& s : samples) blob(encode_sequence(s));
    pack_.pack(finished);
  }

  void scored(const ScoredMessage& m, const Payload* asked = nullptr) {
    const auto& [group, scores, responses] = m;
    pack_.pack_array(3);
    if (group.get() == asked)
      pack_.pack(asked->number());
    else
      trajectories(*group);
    pack_.pack_array(static_cast<uint32_t>(scores.size()));
    for (const SampleScore& score : scores) {
      const auto& [reward, parts, error] = score;
      pack_.pack_array(3);
      if (reward)
        pack_.pack(std::bit_cast<uint64_t>(*reward));
      else
        pack_.pack_nil();
      pack_.pack_map(static_cast<uint32_t>(parts.size()));
      for (const auto& [name, value] : parts) {
        pack_.pack(name);
        pack_.pack(std::bit_cast<uint64_t>(value));
      }
      pack_.pack(error);
    }
    pack_.pack_array(static_cast<uint32_t>(responses.size()));
    for (const auto& [text, end] : responses) {
      pack_.pack_array(2);
      pack_.pack(text);
      pack_.pack(end);
    }
  }

  void batch(const BatchMessage& m, const BatchMessage* asked = nullptr) {
    const auto& [version, groups] = m;
    if (asked != nullptr && (asked->version != version || asked->groups.size() != groups.size())) asked = nullptr;
    pack_.pack_array(2);
    pack_.pack(version);
    pack_.pack_array(static_cast<uint32_t>(groups.size()));
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto& [of, dropped, reference_logp] = groups[i];
      pack_.pack_array(3);
      if (asked != nullptr && asked->groups[i].scored == of)
        pack_.pack(i);
      else
        scored(*of);
      pack_.pack(dropped);
      pack_.pack(reference_logp.size());
      for (const auto& logp : reference_logp) raw(logp);
    }
  }

  void credits(const CreditsMessage& m) {
    const auto& [spare, batch, first_draw, max_draws] = m;
    pack_.pack_array(4);
    pack_.pack(spare);
    pack_.pack(batch);
    pack_.pack(first_draw);
    pack_.pack(max_draws);
  }

  void metrics(const MetricsMessage& m) {
    const auto& [version, node, metrics] = m;
    pack_.pack_array(3);
    pack_.pack(version);
    pack_.pack(node);
    pack_.pack_map(static_cast<uint32_t>(metrics.size()));
    for (const auto& [name, value] : metrics) {
      pack_.pack(name);
      pack_.pack(std::bit_cast<uint64_t>(value));
    }
  }

  void examples(const ExamplesMessage& m) {
    const auto& [first, sequences, last, pairs] = m;
    pack_.pack_array(4);
    pack_.pack(first);
    pack_.pack(sequences.size());
    for (const Sequence& s : sequences) blob(encode_sequence(s));
    pack_.pack(last);
    pack_.pack(pairs);
  }

  void weights(const WeightsMessage& m, const WeightsMessage* before) {
    R1_CHECK(m.weights, "version " + std::to_string(m.version) + " is sent on, not published");
    const WeightSet& weights = *m.weights;
    const bool differs = before != nullptr && before->version < m.version;
    auto [from, to, hash, change, frames] =
        encode_delta(differs ? before->weights.get() : nullptr, differs ? before->version : -1, weights, m.version, m.hash);
    const int64_t version = m.version;
    const bool final = m.final;
    const DType dtype = weights.dtype();
    pack_.pack_array(11);
    pack_.pack(version);
    pack_.pack(from);
    pack_.pack(to);
    pack_.pack(hash.hi);
    pack_.pack(hash.lo);
    pack_.pack(change.a);
    pack_.pack(change.b);
    pack_.pack(from < 0 ? model_config_json(weights.config(), dtype == DType::bf16 ? "bfloat16" : "float32") : "");
    pack_.pack(static_cast<uint8_t>(dtype));
    pack_.pack(final);
    pack_.pack(frames.size());
    std::move(frames.begin(), frames.end(), std::back_inserter(frames_));
  }

  Packet take() { return {std::string(out_.data(), out_.size()), std::move(frames_)}; }

 private:
  template <class T>
  void raw(const std::vector<T>& values) {
    blob({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)});
  }
  void blob(std::string_view bytes) {
    if (frames_.empty() || frames_.back().size() >= kFrameBytes) frames_.emplace_back();
    const BlobSize size = bytes.size();
    frames_.back().append(reinterpret_cast<const char*>(&size), sizeof size);
    frames_.back() += bytes;
  }

  msgpack::sbuffer out_;
  Pack pack_;
  std::vector<std::string> frames_;
};

class Decoder {
 public:
  // Takes the frames that it gives on from the packet.
  Decoder(Packet& packet, const Asked& asked) : unpacked_(packet.header), frames_(packet.frames), asked_(asked) {
    for (const std::string& frame : frames_) unread_ += frame.size();
  }
  const msgpack::object& root() const { return unpacked_.root(); }

  std::shared_ptr<const PromptMessage> prompt(const msgpack::object& o) {
    Items items(o, 6);
    auto m = std::make_shared<PromptMessage>();
    m->draw = items.next_as<int64_t>();
    m->prompt_index = items.next_as<int64_t>();
    m->text = items.next_as<std::string>();
    m->facts = items.next_as<std::map<std::string, std::string>>();
    m->conversation = items.next_as<std::string>();
    m->dropped = items.next_as<std::string>();
    m->tokens = raw<int32_t>();
    return m;
  }

  std::shared_ptr<const TrajectoriesMessage> trajectories(const msgpack::object& o) {
    Items items(o, 3);
    auto m = std::make_shared<TrajectoriesMessage>();
    const msgpack::object& of = items.next();
    m->prompt = is_number(of) ? asked<PromptMessage>(of) : prompt(of);
    m->samples = sequences(items.next_as<uint64_t>());
    m->finished = items.next_as<std::vector<uint8_t>>();
    return m;
  }

  std::shared_ptr<const ScoredMessage> scored(const msgpack::object& o) {
    Items items(o, 3);
    auto m = std::make_shared<ScoredMessage>();
    const msgpack::object& of = items.next();
    m->group = is_number(of) ? asked<TrajectoriesMessage>(of) : trajectories(of);
    for (Items scores(items.next()); scores.size() > 0;) {
      Items score(scores.next(), 3);
      SampleScore& s = m->scores.emplace_back();
      if (const auto reward = score.next_as<std::optional<uint64_t>>()) s.reward = std::bit_cast<double>(*reward);
      for (const auto& [name, value] : score.next_as<std::map<std::string, uint64_t>>())
        s.parts[name] = std::bit_cast<double>(value);
      s.error = score.next_as<std::string>();
    }
    for (Items responses(items.next()); responses.size() > 0;) {
      Items response(responses.next(), 2);
      Completion& completion = m->responses.emplace_back();
      completion.text = response.next_as<std::string>();
      completion.end = response.next_as<std::string>();
    }
    return m;
  }

  PayloadPtr batch(const msgpack::object& o) {
    Items items(o, 2);
    auto m = std::make_shared<BatchMessage>();
    m->version = items.next_as<int64_t>();
    std::shared_ptr<const BatchMessage> question;
    for (Items groups(items.next()); groups.size() > 0;) {
      Items group(groups.next(), 3);
      BatchMessage::Group& g = m->groups.emplace_back();
      const msgpack::object& of = group.next();
      if (is_number(of)) {
        if (!question) question = asked<BatchMessage>(m->version);
        if (of.via.u64 >= question->groups.size()) throw malformed_message("it speaks of a group that was not asked");
        g.scored = question->groups[of.via.u64].scored;
      } else {
        g.scored = scored(of);
      }
      g.dropped = group.next_as<std::string>();
      for (uint64_t n = within_blobs(group.next_as<uint64_t>()); n > 0; --n) g.reference_logp.push_back(raw<float>());
    }
    return m;
  }

  PayloadPtr credits(const msgpack::object& o) {
    Items items(o, 4);
    auto m = std::make_shared<CreditsMessage>();
    m->spare = items.next_as<int64_t>();
    m->batch = items.next_as<int64_t>();
    m->first_draw = items.next_as<int64_t>();
    m->max_draws = items.next_as<int64_t>();
    return m;
  }

  PayloadPtr metrics(const msgpack::object& o) {
    Items items(o, 3);
    auto m = std::make_shared<MetricsMessage>();
    m->version = items.next_as<int64_t>();
    m->node = items.next_as<std::string>();
    for (const auto& [name, bits] : items.next_as<std::map<std::string, uint64_t>>())
      m->metrics[name] = std::bit_cast<double>(bits);
    return m;
  }

  PayloadPtr examples(const msgpack::object& o) {
    Items items(o, 4);
    auto m = std::make_shared<ExamplesMessage>();
    m->first = items.next_as<int64_t>();
    m->sequences = sequences(items.next_as<uint64_t>());
    m->last = items.next_as<bool>();
    m->pairs = items.next_as<bool>();
    return m;
  }

  PayloadPtr weights(const msgpack::object& o) {
    Items items(o, 11);
    auto m = std::make_shared<WeightsMessage>();
    m->version = items.next_as<int64_t>();
    m->delta.from = items.next_as<int64_t>();
    m->delta.to = items.next_as<int64_t>();
    m->delta.hash.hi = items.next_as<uint64_t>();
    m->delta.hash.lo = items.next_as<uint64_t>();
    m->delta.change.a = items.next_as<uint64_t>();
    m->delta.change.b = items.next_as<uint64_t>();
    const auto config = items.next_as<std::string>();
    if (config.empty() != !m->delta.full()) throw malformed_message("a whole version has a config, a delta has none");
    if (m->delta.full()) m->config = model_config(config);
    const auto dtype = items.next_as<uint8_t>();
    if (dtype != static_cast<uint8_t>(DType::f32) && dtype != static_cast<uint8_t>(DType::bf16))
      throw malformed_message("weights of an unknown type");
    m->dtype = static_cast<DType>(dtype);
    m->hash = m->delta.hash;
    m->final = items.next_as<bool>();
    const auto frames = items.next_as<uint64_t>();
    if (frames > frames_.size() - next_) throw too_little();
    for (uint64_t n = frames; n > 0; --n) m->delta.frames.push_back(std::move(frame()));
    return m;
  }

  void end() const {
    if (next_ != frames_.size() || !blobs_.empty())
      throw malformed_message("it has more in its frames than its header speaks of");
  }

 private:
  static Error too_little() { return malformed_message("it has less in its frames than its header speaks of"); }
  std::string& frame() {
    if (next_ == frames_.size()) throw too_little();
    return frames_[next_++];
  }
  std::string_view blob() {
    if (blobs_.empty()) blobs_ = frame();
    BlobSize size = 0;
    if (blobs_.size() < sizeof size) throw too_little();
    std::memcpy(&size, blobs_.data(), sizeof size);
    blobs_.remove_prefix(sizeof size);
    if (size > blobs_.size()) throw too_little();
    const std::string_view bytes = blobs_.substr(0, size);
    blobs_.remove_prefix(size);
    unread_ -= sizeof size + size;
    return bytes;
  }
  uint64_t within_blobs(uint64_t n) const {
    if (n > unread_ / sizeof(BlobSize)) throw too_little();
    return n;
  }

  static bool is_number(const msgpack::object& o) { return o.type == msgpack::type::POSITIVE_INTEGER; }
  template <class Question>
  std::shared_ptr<const Question> asked(const msgpack::object& number) const {
    return asked<Question>(static_cast<int64_t>(number.via.u64));
  }
  template <class Question>
  std::shared_ptr<const Question> asked(int64_t number) const {
    auto found = asked_ ? std::dynamic_pointer_cast<const Question>(asked_(number)) : nullptr;
    if (!found) throw malformed_message("it answers what was not asked");
    return found;
  }

  template <class T>
  std::vector<T> raw() {
    const std::string_view bytes = blob();
    if (bytes.size() % sizeof(T) != 0) throw malformed_message("its bytes end within a value");
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  std::vector<Sequence> sequences(uint64_t n) {
    std::vector<Sequence> out;
    for (within_blobs(n); n > 0; --n) {
      const std::string_view bytes = blob();
      try {
        out.push_back(decode_sequence(bytes));
      } catch (const Error&) {
        throw malformed_message("a sequence in it is none");
      }
    }
    return out;
  }

  static std::shared_ptr<const ModelConfig> model_config(const std::string& json) {
    try {
      return std::make_shared<ModelConfig>(parse_model_config(json, "config.json"));
    } catch (const Error& e) {
      throw malformed_message(e.what());
    }
  }

  Unpacked unpacked_;
  std::vector<std::string>& frames_;
  const Asked& asked_;
  size_t next_ = 0;
  std::string_view blobs_;  // of the frame before, those that were not read
  uint64_t unread_ = 0;     // bytes of frames, in blobs that were not read
};

class MessageCodec final : public PayloadCodec {
 public:
  Packet encode(const Payload& payload, const Payload* before) const override {
    Encoder e;
    if (const auto* prompt = dynamic_cast<const PromptMessage*>(&payload))
      e.prompt(*prompt);
    else if (const auto* group = dynamic_cast<const TrajectoriesMessage*>(&payload))
      e.trajectories(*group, before);
    else if (const auto* scored = dynamic_cast<const ScoredMessage*>(&payload))
      e.scored(*scored, before);
    else if (const auto* batch = dynamic_cast<const BatchMessage*>(&payload))
      e.batch(*batch, dynamic_cast<const BatchMessage*>(before));
    else if (const auto* credits = dynamic_cast<const CreditsMessage*>(&payload))
      e.credits(*credits);
    else if (const auto* metrics = dynamic_cast<const MetricsMessage*>(&payload))
      e.metrics(*metrics);
    else if (const auto* examples = dynamic_cast<const ExamplesMessage*>(&payload))
      e.examples(*examples);
    else if (const auto* weights = dynamic_cast<const WeightsMessage*>(&payload))
      e.weights(*weights, dynamic_cast<const WeightsMessage*>(before));
    else
      R1_CHECK(false, std::string("a payload without a code: ") + payload.kind());
    return e.take();
  }

  PayloadPtr decode(const std::string& kind, Packet packet, const Asked& asked) const override {
    Decoder d(packet, asked);
    PayloadPtr payload;
    if (kind == "prompts")
      payload = d.prompt(d.root());
    else if (kind == "trajectories")
      payload = d.trajectories(d.root());
    else if (kind == "scored")
      payload = d.scored(d.root());
    else if (kind == "groups")
      payload = d.batch(d.root());
    else if (kind == "credits")
      payload = d.credits(d.root());
    else if (kind == "metrics")
      payload = d.metrics(d.root());
    else if (kind == "examples" || kind == "pairs")
      payload = d.examples(d.root());
    else if (kind == "weights")
      payload = d.weights(d.root());
    else
      throw malformed_message("an unknown payload \"" + kind.substr(0, 40) + "\"");
    d.end();
    return payload;
  }
};

}  // namespace

const PayloadCodec& message_codec() {
  static const MessageCodec codec;
  return codec;
}

}  // namespace r1
