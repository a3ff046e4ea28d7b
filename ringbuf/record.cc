// Layout: version u16, kind u16, sequence u64, then the fields in the order of visit_fields()
// below. Numbers are little-endian and as wide as their type; text is a u16 length and its bytes;
// the groups are a u16 count and that many texts. One visitor walks the fields for both directions,
// so that the two cannot differ.
#include "ringbuf/record.h"

#include <array>
#include <bit>
#include <cstring>
#include <type_traits>

namespace tollgate::ringbuf {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");

struct OutcomeName {
  Outcome outcome;
  std::string_view name;
};
constexpr std::array<OutcomeName, 8> kOutcomes = {{{Outcome::completed, "completed"},
                                                   {Outcome::failed, "failed"},
                                                   {Outcome::incomplete, "incomplete"},
                                                   {Outcome::client_abort, "client_abort"},
                                                   {Outcome::cut, "cut"},
                                                   {Outcome::upstream_error, "upstream_error"},
                                                   {Outcome::refused, "refused"},
                                                   {Outcome::recovered, "recovered"}}};

// Also of a hold. The groups come last: they take the room that the other fields left.
template <typename Record, typename Visitor>
void visit_usage(Record& r, Visitor& visit) {
  visit.number(r.id.high);
  visit.number(r.id.low);
  visit.number(r.started_unix_ms);
  visit.number(r.first_byte_ms);
  visit.number(r.duration_ms);
  visit.number(r.peer_id);
  visit.number(r.input_tokens);
  visit.number(r.cached_tokens);
  visit.number(r.cache_write_tokens);
  visit.number(r.output_tokens);
  visit.number(r.reasoning_tokens);
  visit.number(r.cost.value);
  visit.choice(r.outcome, Outcome::completed, Outcome::recovered);
  visit.number(r.http_status);
  visit.flag(r.estimated);
  visit.number(r.events);
  visit.number(r.bytes_up);
  visit.number(r.bytes_down);
  visit.number(r.flow_id);
  visit.number(r.hold_input_tokens);
  visit.number(r.hold_output_tokens);
  visit.number(r.hold_cost.value);
  visit.number(r.tool_calls);
  visit.number(r.settled_unix_ms);
  visit.number(r.settled_window_ms);
  visit.number_since_3(r.upstream_flow_id);
  visit.number_since_3(r.upstream_bytes_up);
  visit.number_since_3(r.upstream_bytes_down);
  for (auto* text : {&r.peer_address, &r.user, &r.policy, &r.provider, &r.key_name, &r.endpoint,
                     &r.model_asked, &r.model_served, &r.model_reported, &r.tier, &r.price_version,
                     &r.refusal_code, &r.response_id}) {
    visit.text(*text, kTextBytesMax);
  }
  for (auto* claim : {&r.session_id, &r.thread_id, &r.subagent})
    visit.text(*claim, kClaimBytesMax);
  visit.groups(r.groups);
}

template <typename Record, typename Visitor>
void visit_flow(Record& r, Visitor& visit) {
  visit.choice(r.event, FlowEvent::open, FlowEvent::upstream_close);
  visit.number(r.flow_id);
  visit.number(r.monotonic_ns);
  visit.number(r.tag.peer_id);
  visit.number(r.tag.generation);
  visit.number(r.ifindex);
  visit.number(r.remote.address.bytes);
  visit.number(r.remote.port);
  visit.number(r.local.address.bytes);
  visit.number(r.local.port);
  visit.number(r.bytes_received);
  visit.number(r.bytes_sent);
  visit.number(r.srtt_us);
}

// The longest prefix within `max` bytes that does not end inside a character. What is not UTF-8
// anyway is cut at `max`.
std::string_view cut(std::string_view text, size_t max) {
  if (text.size() <= max) return text;
  size_t end = max;
  const size_t end_min = max > 3 ? max - 3 : 0;
  while (end > end_min && (static_cast<uint8_t>(text[end]) & 0xc0) == 0x80)
    --end;
  if ((static_cast<uint8_t>(text[end]) & 0xc0) == 0x80) end = max;
  return text.substr(0, end);
}

class Encoder {
 public:
  explicit Encoder(std::vector<std::byte>& out) : out_(out), start_(out.size()) {}

  template <typename T>
  void number(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    const auto bytes = std::bit_cast<std::array<std::byte, sizeof(T)>>(value);
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void number_since_3(uint64_t value) { number(value); }
  template <typename E>
  void choice(E value, E, E) {
    number(static_cast<uint8_t>(value));
  }
  void flag(bool value) { number(static_cast<uint8_t>(value ? 1 : 0)); }
  void text(std::string_view value, size_t max) {
    const std::string_view kept = cut(value, max);
    number(static_cast<uint16_t>(kept.size()));
    const auto* bytes = reinterpret_cast<const std::byte*>(kept.data());
    out_.insert(out_.end(), bytes, bytes + kept.size());
  }
  void groups(const std::vector<std::string>& names) {
    size_t room = kRecordBytesMax - (out_.size() - start_) - sizeof(uint16_t);
    uint16_t kept = 0;
    for (const std::string& name : names) {
      const size_t need = sizeof(uint16_t) + cut(name, kTextBytesMax).size();
      if (kept == kGroupsMax || need > room) break;
      room -= need;
      ++kept;
    }
    number(kept);
    for (size_t i = 0; i < kept; ++i)
      text(names[i], kTextBytesMax);
  }

 private:
  std::vector<std::byte>& out_;
  size_t start_;
};

// After the first fault every further read does nothing: one check at the end serves all fields.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  void number(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto bytes = take(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
  }
  void number_since_3(uint64_t& value) {
    if (version_ >= 3) number(value);
  }
  template <typename E>
  void choice(E& value, E first, E last) {
    uint8_t number_read = static_cast<uint8_t>(first);
    number(number_read);
    value = static_cast<E>(number_read);
    if (value < first || value > last) refuse("unknown outcome or event");
  }
  void flag(bool& value) {
    uint8_t bit = 0;
    number(bit);
    value = bit == 1;
    if (bit > 1) refuse("flag neither 0 nor 1");
  }
  void text(std::string& value, size_t max) {
    uint16_t size = 0;
    number(size);
    if (size > max) return refuse("text over its bound");
    const auto bytes = take(size);
    value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void groups(std::vector<std::string>& names) {
    uint16_t count = 0;
    number(count);
    if (count > kGroupsMax) return refuse("too many groups");
    for (size_t i = 0; i < count && fault_ == nullptr; ++i)
      text(names.emplace_back(), kTextBytesMax);
  }

  void read_as(uint16_t version) { version_ = version; }
  void refuse(const char* why) {
    if (fault_ == nullptr) fault_ = why;
  }
  const char* fault() const { return fault_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::span<const std::byte> take(size_t size) {
    if (fault_ != nullptr) return {};
    if (size > rest_.size()) {
      refuse("bytes missing");
      return {};
    }
    const auto taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::span<const std::byte> rest_;
  uint16_t version_ = kRecordVersion;
  const char* fault_ = nullptr;
};

Error refusal(const std::string& why) {
  return Error{Fault::self, 0, "decode record: " + why, {}};
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  for (const auto& row : kOutcomes) {
    if (row.outcome == outcome) return row.name;
  }
  return "unknown";
}

std::optional<Outcome> parse_outcome(std::string_view name) {
  for (const auto& row : kOutcomes) {
    if (row.name == name) return row.outcome;
  }
  return std::nullopt;
}

void encode(const Record& record, std::vector<std::byte>& out) {
  Encoder encoder(out);
  const auto head = [&](RecordKind kind) {
    encoder.number(kRecordVersion);
    encoder.number(static_cast<uint16_t>(kind));
    encoder.number(record.sequence);
  };
  if (const auto* usage = std::get_if<UsageRecord>(&record.body)) {
    head(RecordKind::usage);
    visit_usage(*usage, encoder);
  } else if (const auto* hold = std::get_if<HoldRecord>(&record.body)) {
    head(RecordKind::hold);
    visit_usage(hold->request, encoder);
  } else {
    head(RecordKind::flow);
    visit_flow(std::get<FlowRecord>(record.body), encoder);
  }
}

Result<Record> decode(std::span<const std::byte> bytes) {
  if (bytes.size() > kRecordBytesMax) return refusal("longer than any record");
  Decoder decoder(bytes);
  uint16_t version = 0;
  uint16_t kind = 0;
  Record record;
  decoder.number(version);
  decoder.number(kind);
  decoder.number(record.sequence);
  const bool old_hold = version == 2 && kind == static_cast<uint16_t>(RecordKind::hold);
  if (decoder.fault() == nullptr && version != kRecordVersion && !old_hold) {
    return refusal("version " + std::to_string(version) + ", want " +
                   std::to_string(kRecordVersion));
  }
  decoder.read_as(version);
  if (kind == static_cast<uint16_t>(RecordKind::usage)) {
    visit_usage(record.body.emplace<UsageRecord>(), decoder);
  } else if (kind == static_cast<uint16_t>(RecordKind::flow)) {
    visit_flow(record.body.emplace<FlowRecord>(), decoder);
  } else if (kind == static_cast<uint16_t>(RecordKind::hold)) {
    visit_usage(record.body.emplace<HoldRecord>().request, decoder);
  } else if (decoder.fault() == nullptr) {
    return refusal("unknown kind " + std::to_string(kind));
  }
  if (decoder.fault() == nullptr && !decoder.at_end()) decoder.refuse("bytes after the end");
  if (decoder.fault() != nullptr) return refusal(decoder.fault());
  return record;
}

}  // namespace tollgate::ringbuf
