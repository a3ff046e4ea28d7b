// Messages as JSON.
#include <limits>
#include <nlohmann/json.hpp>
#include <type_traits>

#include "userspace/base/ip.h"
#include "userspace/daemon/handover.h"

namespace tollgate::daemon {
namespace {

using nlohmann::json;

constexpr size_t kTextBytesMax = 4096;
constexpr size_t kListMax = 4096;

json to_json(const Hello& hello) {
  return {{"kind", "hello"},
          {"protocol", hello.protocol},
          {"records", hello.records},
          {"bpf_abi", hello.bpf_abi},
          {"ledger", hello.ledger},
          {"release", hello.release},
          {"steering", hello.steering},
          {"listen", hello.listen}};
}
json to_json(const Refused& refused) {
  return {{"kind", "refused"}, {"text", refused.text}, {"hint", refused.hint}};
}
json to_json(const Take&) {
  return {{"kind", "take"}};
}
json to_json(const State& state) {
  json peers = json::array();
  for (const policy::Peer& peer : state.peers.peers) {
    peers.push_back({{"id", peer.tag.peer_id},
                     {"generation", peer.tag.generation},
                     {"tunnel", peer.tunnel},
                     {"address", to_string(peer.address)},
                     {"user", peer.user},
                     {"public_key", peer.public_key},
                     {"groups", peer.groups},
                     {"revoked", peer.revoked}});
  }
  return {{"kind", "state"},
          {"peers", std::move(peers)},
          {"next_id", state.peers.next_id},
          {"next_generation", state.peers.next_generation},
          {"workers", state.workers},
          {"notify_socket", state.notify_socket}};
}
json to_json(const Listeners&) {
  return {{"kind", "listeners"}};
}
json to_json(const Ready&) {
  return {{"kind", "ready"}};
}
json to_json(const Quiet&) {
  return {{"kind", "quiet"}};
}
json to_json(const Running& running) {
  return {{"kind", "running"}, {"requests", running.requests}};
}
json to_json(const Reload&) {
  return {{"kind", "reload"}};
}
json to_json(const Finish& finish) {
  return {{"kind", "finish"}, {"within_ms", finish.within_ms}};
}

// Fields of an object; whatever is wrong is remembered, so that a message is read straight down.
class Fields {
 public:
  explicit Fields(const json& object) : object_(object) {}

  void read(const char* name, std::string& out) {
    const json* value = member(name);
    if (value == nullptr || !value->is_string()) return fail(name);
    out = value->get_ref<const std::string&>();
    if (out.size() > kTextBytesMax) fail(name);
  }
  void read(const char* name, bool& out) {
    const json* value = member(name);
    if (value == nullptr || !value->is_boolean()) return fail(name);
    out = value->get<bool>();
  }
  template <typename Number>
  requires(std::is_integral_v<Number> && !std::is_same_v<Number, bool>) void read(const char* name,
                                                                                  Number& out) {
    const json* value = member(name);
    if (value == nullptr || !value->is_number_unsigned()) return fail(name);
    const auto wide = value->get<uint64_t>();
    if (wide > static_cast<uint64_t>(std::numeric_limits<Number>::max())) return fail(name);
    out = static_cast<Number>(wide);
  }
  void read(const char* name, std::vector<std::string>& out) {
    const json* value = member(name);
    if (value == nullptr || !value->is_array() || value->size() > kListMax) return fail(name);
    for (const json& item : *value) {
      if (!item.is_string() || item.get_ref<const std::string&>().size() > kTextBytesMax) {
        return fail(name);
      }
      out.push_back(item.get<std::string>());
    }
  }
  const json* list(const char* name) {
    const json* value = member(name);
    if (value != nullptr && value->is_array()) return value;
    fail(name);
    return nullptr;
  }
  void fail(const char* name) {
    if (wrong_.empty()) wrong_ = name;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  const json* member(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() ? nullptr : &*found;
  }

  const json& object_;
  std::string wrong_;
};

void read(Fields& fields, Hello& hello) {
  fields.read("protocol", hello.protocol);
  fields.read("records", hello.records);
  fields.read("bpf_abi", hello.bpf_abi);
  fields.read("ledger", hello.ledger);
  fields.read("release", hello.release);
  fields.read("steering", hello.steering);
  fields.read("listen", hello.listen);
}
void read(Fields& fields, Refused& refused) {
  fields.read("text", refused.text);
  fields.read("hint", refused.hint);
}
void read(Fields& fields, State& state) {
  fields.read("next_id", state.peers.next_id);
  fields.read("next_generation", state.peers.next_generation);
  fields.read("workers", state.workers);
  fields.read("notify_socket", state.notify_socket);
  const json* peers = fields.list("peers");
  if (peers == nullptr) return;
  for (const json& item : *peers) {
    if (!item.is_object()) return fields.fail("peers");
    Fields each(item);
    policy::Peer peer;
    std::string address;
    each.read("id", peer.tag.peer_id);
    each.read("generation", peer.tag.generation);
    each.read("tunnel", peer.tunnel);
    each.read("address", address);
    each.read("user", peer.user);
    each.read("public_key", peer.public_key);
    each.read("groups", peer.groups);
    each.read("revoked", peer.revoked);
    const auto prefix = parse_prefix(address);
    if (!each.wrong().empty() || !prefix) return fields.fail("peers");
    peer.address = *prefix;
    state.peers.peers.push_back(std::move(peer));
  }
}
void read(Fields& fields, Running& running) {
  fields.read("requests", running.requests);
}
void read(Fields& fields, Finish& finish) {
  fields.read("within_ms", finish.within_ms);
}
// The rest are their kind alone.
template <typename Plain>
requires(std::is_empty_v<Plain>) void read(Fields&, Plain&) {}

template <typename Kind>
Result<Message> read_kind(const json& object) {
  Fields fields(object);
  Kind message;
  read(fields, message);
  if (fields.wrong().empty()) return Message(std::move(message));
  return Error{Fault::system, 0, "read a handover message: field \"" + fields.wrong() + "\"", {}};
}

template <size_t... Index>
Result<Message> read_named(const json& object, const std::string& kind,
                           std::index_sequence<Index...>) {
  std::optional<Result<Message>> found;
  const auto consider = [&]<typename Kind>(const Kind& plain) {
    if (!found && to_json(plain)["kind"] == kind) found = read_kind<Kind>(object);
  };
  (consider(std::variant_alternative_t<Index, Message>()), ...);
  if (found) return std::move(*found);
  return Error{Fault::system, 0, "read a handover message: unknown kind", {}};
}

}  // namespace

std::string to_text(const Message& message) {
  return std::visit([](const auto& each) { return to_json(each); }, message)
      .dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Message> parse_message(std::string_view text) {
  const json object = json::parse(text, nullptr, false);
  if (!object.is_object()) {
    return Error{Fault::system, 0, "read a handover message: not a JSON object", {}};
  }
  Fields fields(object);
  std::string kind;
  fields.read("kind", kind);
  return read_named(object, kind, std::make_index_sequence<std::variant_size_v<Message>>());
}

}  // namespace tollgate::daemon
