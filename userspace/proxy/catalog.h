// Which models there are, as the one who asks may know it: GET /v1/models and /v1/models/{id}.
// Codex asks with ?client_version= and gets the entries of its own catalogue, everybody else
// OpenAI's list. Pure: a snapshot and a question in, an answer out.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "policy/policy.h"
#include "userspace/base/result.h"
#include "userspace/codec/model_catalog.h"
#include "userspace/proxy/forward.h"

namespace tollgate::proxy {

struct Snapshot;

struct Catalog {
  std::vector<codec::CatalogEntry> entries;
  std::string digest;  // of the file they are from

  const codec::CatalogEntry* find(std::string_view slug) const;
};
Result<std::shared_ptr<const Catalog>> parse_catalog(std::string_view json, std::string_view name);

struct ModelsAsk {
  std::string_view object_id{};  // of GET /v1/models/{id}; empty: all
  std::string_view query{};
  std::string_view if_none_match{};
};
// head_only and close are the caller's to set.
LocalAnswer answer_models(const Snapshot& snapshot, const policy::Peer& peer, const ModelsAsk& ask);

// "x-models-etag" of what Codex would get now, with its line end: Codex asks for its catalogue
// again when it holds another. Empty without a catalogue.
std::string models_etag_field(const Snapshot& snapshot, PeerTag tag);

}  // namespace tollgate::proxy
