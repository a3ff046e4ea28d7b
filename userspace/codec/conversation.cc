#include "userspace/codec/conversation.h"

#include <algorithm>
#include <array>

#include "userspace/codec/json_walker.h"

namespace tollgate::codec {
namespace {

// Written anew, or of no meaning outside a WebSocket.
constexpr std::array<std::string_view, 5> kLeftOut = {"type", "previous_response_id", "generate",
                                                      "input", "stream"};
constexpr std::string_view kItemDone = "\"response.output_item.done\"";

// Calls `take(key, value)`, both as written, for each member of an object, until it says false.
template <typename Take>
bool for_each_member(std::string_view json, Take take) {
  JsonWalker walker(json);
  if (!walker.take('{')) return false;
  if (walker.take('}')) return true;
  do {
    const auto key = walker.take_string();
    if (!key || !walker.take(':')) return false;
    walker.skip_space();
    const size_t start = walker.at();
    if (!walker.skip_value()) return false;
    if (!take(*key, json.substr(start, walker.at() - start))) return true;
  } while (walker.take(','));
  return walker.take('}');
}

std::string_view value_of(std::string_view json, std::string_view name) {
  std::string_view found;
  for_each_member(json, [&](std::string_view key, std::string_view value) {
    if (!spells(key, name)) return true;
    found = value;
    return false;
  });
  return found;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

std::string input_items(std::string_view message) {
  const std::string_view input = value_of(message, "input");
  if (input.size() >= 2 && input.front() == '[') {
    return std::string(trimmed(input.substr(1, input.size() - 2)));
  }
  if (input.empty() || input.front() != '"') return {};
  return R"({"type":"message","role":"user","content":)" + std::string(input) + "}";
}

std::optional<std::string> compose_request(std::string_view message, std::string_view items) {
  std::string body;
  body.reserve(message.size() + items.size() + 32);
  body += '{';
  const bool whole =
      for_each_member(message, [&body](std::string_view key, std::string_view value) {
        const bool left_out =
            std::any_of(kLeftOut.begin(), kLeftOut.end(),
                        [key](std::string_view name) { return spells(key, name); });
        if (!left_out) body.append("\"").append(key).append("\":").append(value).append(",");
        return true;
      });
  if (!whole) return std::nullopt;
  body.append("\"stream\":true,\"input\":[").append(items).append("]}");
  return body;
}

std::optional<std::string_view> finished_item(std::string_view event) {
  // Most events are told by their size or by a plain search; the walk is for the few that may be.
  if (event.find(kItemDone) == std::string_view::npos) return std::nullopt;
  if (value_of(event, "type") != kItemDone) return std::nullopt;
  const std::string_view item = value_of(event, "item");
  if (item.empty() || item.front() != '{') return std::nullopt;
  return item;
}

void append_items(std::string& items, std::string_view more) {
  if (more.empty()) return;
  if (!items.empty()) items += ',';
  items += more;
}

}  // namespace tollgate::codec
