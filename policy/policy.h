// The policy snapshot: everything that decides a request, immutable once built. Threads share it as
// shared_ptr<const Policy>; a request keeps the one it was admitted under. Pure: no I/O, no clock.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "policy/decision.h"
#include "policy/guards.h"
#include "policy/limit.h"
#include "policy/price.h"
#include "userspace/base/ids.h"
#include "userspace/base/ip.h"

namespace tollgate::policy {

struct KeySource {
  std::string name;  // goes into records; the key itself never does
  std::string file;
};

struct Provider {
  std::string name;
  std::string scheme;  // "https", or "http" for a loopback host only
  std::string host;    // for SNI, Host and certificate verification
  uint16_t port = 443;
  std::string path_prefix;  // "/v1": the request path after our own "/v1" is appended to it
  std::string ca_file;      // empty: the system's trust store
  std::optional<Endpoint> connect_to;  // dial this instead of resolving host (split DNS, labs)
  std::vector<KeySource> keys;
  bool websocket = false;  // false: a client's WebSocket is carried on as HTTP and event streams
};

struct Group {
  std::string name;
  std::vector<std::string> members;
};

struct Peer {
  PeerTag tag;         // given by the identity table (userspace/identity), not by the file
  IpPrefix address;    // one address, but where a whole prefix was mapped to one user on purpose
  std::string tunnel;  // interface name
  std::string user;
  std::vector<std::string> groups;  // sorted
  std::string public_key{};   // WireGuard's, base64, where the tunnel names who owns the address
  bool revoked = false;       // by `tollgate revoke`: known, and refused in words
  std::string revoked_why{};  // the administrator's words; may be empty
};

struct Rule {  // one [[policy]]
  std::string name;
  std::vector<std::string> groups;
  std::string provider;
  std::vector<std::string> models;  // globs: '*' any run, '?' one byte; nothing else is special
  std::vector<Limit> limits{};
  HoldMode hold = HoldMode::typical;
  // Written into requests that ask for more or name none; 0: no cap.
  uint64_t max_output_tokens = 0;
  OnClientAbort on_client_abort = OnClientAbort::cancel;
  Guards guards{};
  bool websocket = false;  // clients may upgrade
};

// Who named a model. Aliases and force_model are for clients' names: what a limit steps down to, or
// what already runs, is the gateway's own choice, and it must be in a policy's `models`.
enum class NamedBy : uint8_t { client, gateway };

// What a request asks for, taken from its body by the codec.
struct Ask {
  std::string_view model;
  std::string_view service_tier;  // empty: "default"
  NamedBy named_by = NamedBy::client;
};

// Which policy a request falls under, and what will serve it.
struct Route {
  const Rule* rule;
  std::string served_model;
};

struct Allowed {
  const Rule* rule;
  const Provider* provider;
  const ModelPrice* price;   // of the served model
  std::string served_model;  // the asked one, or what an alias or force_model puts in its place
};

using Verdict = std::variant<Allowed, Refusal>;

// A limit that counts a request, and whose consumption it is: of the user, or of one group.
struct Binding {
  const Limit* limit;
  const Rule* rule;
  std::string_view subject;
};

class Policy {
 public:
  struct Parts {
    std::string contact;  // "ask #ai-platform"
    std::vector<Provider> providers;
    std::vector<Group> groups;
    std::vector<Peer> peers;
    std::vector<Rule> rules;
    PriceTable prices;
  };
  explicit Policy(Parts parts);
  Policy(const Policy&) = delete;

  // The same with other peers: what an identity source or a revocation brings about.
  std::shared_ptr<const Policy> with_peers(std::vector<Peer> peers) const;

  // Whose connection this is: the tag must match id and generation. nullptr: nobody's.
  const Peer* peer_by_tag(PeerTag tag) const;
  // Whoever has this id now, whatever the generation. An id stands for one machine of one user
  // (tunnel, address, user, public key); its generation changes with what that user may do.
  const Peer* peer_by_id(uint32_t peer_id) const;
  // For the userspace fallback and for the cross-check of the kernel's tag. An address that two
  // tunnels share names nobody here: only the kernel knows which interface it came in by.
  const Peer* peer_by_address(const IpAddress& address) const;

  // Default deny, and nothing at all for a revoked peer. The first rule in file order wins that is
  // for one of the peer's groups and lets the model be asked for: by its models, an alias or
  // force_model. The refusal names what is allowed.
  std::variant<Route, Refusal> route(const Peer& peer, std::string_view model,
                                     NamedBy named_by = NamedBy::client) const;
  // The gates behind that: the tier, and the prices of model and tier.
  Verdict allow(const Route& route, std::string_view service_tier) const;
  // Both.
  Verdict decide(const Peer& peer, const Ask& ask) const;
  // Every limit of every policy whose groups and models the served model matches, also of policies
  // behind the one that allowed it: a user of two groups is bound by both.
  std::vector<Binding> bindings(const Peer& peer, std::string_view model) const;
  // Whether a WebSocket may begin: some policy of the peer's allows it. Which one a request falls
  // under is known only with its model.
  bool websocket_for(const Peer& peer) const;
  // Names that this peer may ask for and that have a price, aliases too, sorted: for GET /v1/models
  // and for sentences.
  std::vector<std::string> models_for(const Peer& peer) const;

  struct Explanation {  // `tollgate explain`: one step per rule and per gate, in order
    struct Step {
      std::string subject;  // "policy engineering-codex"
      bool passed;
      std::string reason;  // "model gpt-5.5 does not match gpt-6-*"
    };
    std::vector<Step> steps;
    Verdict verdict;
  };
  Explanation explain(std::string_view user, std::string_view model) const;

  const std::string& contact() const { return parts_.contact; }
  const std::vector<Peer>& peers() const { return parts_.peers; }
  const std::vector<Provider>& providers() const { return parts_.providers; }
  const std::vector<Rule>& rules() const { return parts_.rules; }
  const std::vector<Group>& groups() const { return parts_.groups; }
  // As a peer for explanations: the user's groups, whatever the machine they sit at. Revoked when
  // each of those machines is.
  Peer peer_of(std::string_view user) const;
  const PriceTable& prices() const { return parts_.prices; }

 private:
  bool applies(const Rule& rule, const Peer& peer) const;
  const Rule* find_rule(const Peer& peer, std::string_view model, NamedBy named_by) const;
  bool lists(const Peer& peer, std::string_view name) const;
  Refusal deny_model(const Peer& peer, std::string_view model) const;
  Refusal deny_user(std::string_view user) const;
  const Provider* find_provider(std::string_view name) const;

  Parts parts_;
  std::unordered_map<uint32_t, const Peer*> by_id_;
  std::unordered_map<IpAddress, const Peer*> by_address_;  // single ones
  std::vector<const Peer*> prefixes_;                      // longest first
};

// The sentence for a revoked peer.
Refusal revoked_refusal(const Peer& peer, const std::string& contact);

// True when one of the globs matches.
bool matches_any(const std::vector<std::string>& patterns, std::string_view text);
// Linear in text × pattern at worst, without recursion: patterns are the administrator's, texts are
// the client's.
bool glob_match(std::string_view pattern, std::string_view text);

}  // namespace tollgate::policy
