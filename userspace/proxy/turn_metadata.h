// What Codex says of the place where a developer works goes out as it is, not at all, or hashed:
// paths, remote addresses, commits and the machine's id as texts that are equal where the place is,
// and tell nothing else. It stands in header fields and, once more, in the body's client_metadata.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "policy/guards.h"
#include "userspace/base/secret.h"
#include "userspace/codec/rewrite.h"

namespace tollgate::proxy {

struct MetadataRule {
  policy::TurnMetadata mode = policy::TurnMetadata::forward;
  std::shared_ptr<const Secret> key{};  // of the hashes; without one, nothing goes out
};

// A request field's value as it goes to the provider; nothing when it does not. `name` in lower
// case.
std::optional<std::string> forwarded_value(const MetadataRule& rule, std::string_view name,
                                           std::string_view value);

// What happens to the body's client_metadata; nothing when it passes.
std::optional<codec::FieldChange> client_metadata_change(const MetadataRule& rule);

}  // namespace tollgate::proxy
