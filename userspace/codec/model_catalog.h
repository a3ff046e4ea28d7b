// The catalogue that `codex debug models` prints, {"models":[{"slug":...},...]}, as one text an
// entry. What is in an entry is Codex's and changes with its versions: nothing of it is read but
// the name, and it is given on as the bytes that it was.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/base/result.h"

namespace tollgate::codec {

struct CatalogEntry {
  std::string slug;
  std::string json;
};

// In the file's order, no slug twice. `name` is the file's, for what is wrong with it.
Result<std::vector<CatalogEntry>> read_model_catalog(std::string_view json, std::string_view name);

// The same model under another name; nothing when the entry is no object after all.
std::optional<std::string> rename_entry(const CatalogEntry& entry, std::string_view slug);

}  // namespace tollgate::codec
