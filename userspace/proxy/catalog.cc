#include "userspace/proxy/catalog.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "userspace/proxy/snapshot.h"
#include "userspace/tls/digest.h"

namespace tollgate::proxy {
namespace {

using codec::CatalogEntry;

// A model that this peer may use, and the entry that tells Codex about it.
struct Listed {
  const CatalogEntry* entry;
  std::string alias;  // the name to list it by, where that is not the entry's
};

nlohmann::json model_object(const std::string& model) {
  return {{"id", model}, {"object", "model"}, {"created", 0}, {"owned_by", "tollgate"}};
}

std::string to_text(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string entity_tag_of(std::string_view content) {
  return "\"" + tls::sha256_hex(content) + "\"";
}

// What Codex is to know of the name: the entry of the model that serves it.
const CatalogEntry* entry_for(const Snapshot& snapshot, const policy::Peer& peer,
                              const std::string& name) {
  const policy::Verdict verdict = snapshot.policy->decide(peer, {name, {}});
  const auto* allowed = std::get_if<policy::Allowed>(&verdict);
  const CatalogEntry* served =
      allowed == nullptr ? nullptr : snapshot.catalog->find(allowed->served_model);
  return served != nullptr ? served : snapshot.catalog->find(name);
}

// In the file's order, as Codex shows them; behind those the names that only the policy knows. A
// model without an entry is left out: made-up metadata would replace what Codex has built in.
std::vector<Listed> list_for(const Snapshot& snapshot, const policy::Peer& peer) {
  std::vector<std::string> names = snapshot.policy->models_for(peer);
  std::vector<Listed> listed;
  const auto add = [&](const std::string& name) {
    const CatalogEntry* entry = entry_for(snapshot, peer, name);
    if (entry != nullptr) listed.push_back({entry, entry->slug == name ? "" : name});
  };
  for (const CatalogEntry& entry : snapshot.catalog->entries) {
    const auto found = std::find(names.begin(), names.end(), entry.slug);
    if (found == names.end()) continue;
    add(entry.slug);
    names.erase(found);
  }
  for (const std::string& name : names)
    add(name);
  return listed;
}

// Of the file and of what is shown of it: the body follows from these alone, and hashing them costs
// little enough for each answer's head.
std::string etag_of(const Catalog& catalog, const std::vector<Listed>& listed) {
  std::string content = catalog.digest;
  for (const Listed& model : listed)
    content.append("\n").append(model.entry->slug).append("\n").append(model.alias);
  return entity_tag_of(content);
}

std::string catalog_body(const std::vector<Listed>& listed) {
  std::string body = "{\"models\":[";
  for (const Listed& model : listed) {
    if (body.back() != '[') body += ',';
    body += model.alias.empty()
                ? model.entry->json
                : codec::rename_entry(*model.entry, model.alias).value_or(model.entry->json);
  }
  return body += "]}";
}

std::string openai_list(const std::vector<std::string>& models) {
  nlohmann::json data = nlohmann::json::array();
  for (const std::string& model : models)
    data.push_back(model_object(model));
  return to_text({{"object", "list"}, {"data", std::move(data)}});
}

bool has_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    if (pair.substr(0, pair.find('=')) == name) return true;
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
  }
  return false;
}

// A list of entity tags, of which weak ones compare like strong ones here (RFC 9110 13.1.2).
bool matches(std::string_view if_none_match, std::string_view etag) {
  return if_none_match == "*" || if_none_match.find(etag) != if_none_match.npos;
}

// What is shown depends on who asks, and the next reload may change it.
LocalAnswer tagged(std::string etag, std::string_view if_none_match) {
  LocalAnswer answer;
  answer.caching = "private, no-cache";
  if (matches(if_none_match, etag)) answer.status = 304;
  answer.fields = "etag: " + std::move(etag) + "\r\n";
  return answer;
}

// Also a name that is served and not listed, like a dated one. Else the sentence that a request
// would get, with the status that a client of this path expects.
LocalAnswer one_model(const Snapshot& snapshot, const policy::Peer& peer, std::string_view model) {
  const policy::Verdict verdict = snapshot.policy->decide(peer, {model, {}});
  LocalAnswer answer;
  if (const auto* refusal = std::get_if<policy::Refusal>(&verdict)) {
    answer.status = 404;
    answer.body = policy::refusal_body(*refusal);
  } else {
    answer.body = to_text(model_object(std::string(model)));
  }
  return answer;
}

}  // namespace

const CatalogEntry* Catalog::find(std::string_view slug) const {
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const CatalogEntry& entry) { return entry.slug == slug; });
  return found == entries.end() ? nullptr : &*found;
}

Result<std::shared_ptr<const Catalog>> parse_catalog(std::string_view json, std::string_view name) {
  auto entries = codec::read_model_catalog(json, name);
  if (!entries) return std::move(entries).forward();
  Catalog catalog;
  catalog.entries = *std::move(entries);
  catalog.digest = tls::sha256_hex(json);
  return std::make_shared<const Catalog>(std::move(catalog));
}

LocalAnswer answer_models(const Snapshot& snapshot, const policy::Peer& peer,
                          const ModelsAsk& ask) {
  if (!ask.object_id.empty()) return one_model(snapshot, peer, ask.object_id);
  if (snapshot.catalog && has_parameter(ask.query, "client_version")) {
    const std::vector<Listed> listed = list_for(snapshot, peer);
    LocalAnswer answer = tagged(etag_of(*snapshot.catalog, listed), ask.if_none_match);
    if (answer.status == 200) answer.body = catalog_body(listed);
    return answer;
  }
  std::string body = openai_list(snapshot.policy->models_for(peer));
  LocalAnswer answer = tagged(entity_tag_of(body), ask.if_none_match);
  if (answer.status == 200) answer.body = std::move(body);
  return answer;
}

std::string models_etag_field(const Snapshot& snapshot, PeerTag tag) {
  const policy::Peer* peer = snapshot.catalog ? snapshot.policy->peer_by_tag(tag) : nullptr;
  if (peer == nullptr) return {};
  return "x-models-etag: " + etag_of(*snapshot.catalog, list_for(snapshot, *peer)) + "\r\n";
}

}  // namespace tollgate::proxy
