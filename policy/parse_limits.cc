// [[policy.limit]] → Limit values. A table that is wrong in any part leaves no Limit behind, so
// that one mistake makes one Problem.
#include <algorithm>
#include <charconv>
#include <limits>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

constexpr int64_t kSecondMs = 1000;
constexpr int64_t kMinuteMs = 60 * kSecondMs;
constexpr int64_t kHourMs = 60 * kMinuteMs;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kRollingMaxMs = 31 * kDayMs;  // as long as the longest calendar window
constexpr size_t kTimezoneBytesMax = 64;
constexpr std::string_view kTimezoneDefault = "UTC";
constexpr auto kAmountMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

constexpr std::pair<const char*, LimitUnit> kCounts[] = {
    {"tokens", LimitUnit::tokens},
    {"requests", LimitUnit::requests},
    {"concurrent", LimitUnit::concurrent},
};

struct Amount {
  const char* key;
  LimitUnit unit;
  int64_t value;
};

int64_t unit_ms(char letter) {
  switch (letter) {
    case 's':
      return kSecondMs;
    case 'm':
      return kMinuteMs;
    case 'h':
      return kHourMs;
    case 'd':
      return kDayMs;
    default:
      return 0;
  }
}

std::optional<int64_t> parse_span_ms(std::string_view text) {
  int64_t count = 0;
  const char* end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, count);
  if (failure != std::errc{} || end - stop != 1 || text.front() == '0') return std::nullopt;
  const int64_t unit = unit_ms(*stop);
  if (unit == 0 || count < 1 || count > kRollingMaxMs / unit) return std::nullopt;
  return count * unit;
}

std::optional<Window> parse_window(std::string_view text) {
  Window window;
  if (text == "day") {
    window.kind = Window::Kind::day;
  } else if (text == "week") {
    window.kind = Window::Kind::week;
  } else if (text == "month") {
    window.kind = Window::Kind::month;
  } else if (const auto span = parse_span_ms(text)) {
    window.rolling_ms = *span;
  } else {
    return std::nullopt;
  }
  return window;
}

// The shape only: whether this system knows the zone is asked by the daemon.
bool is_timezone_shape(std::string_view text) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '/' || c == '-';
  };
  return !text.empty() && text.size() <= kTimezoneBytesMax && text.front() != '/' &&
         std::all_of(text.begin(), text.end(), fits);
}

bool read_timezone(TomlReader& reader, Window& window) {
  const bool present = reader.has("timezone");
  const auto zone = reader.text("timezone");
  const bool rolling = window.kind == Window::Kind::rolling;
  if (!present) {
    if (!rolling) window.timezone = kTimezoneDefault;
    return true;
  }
  if (!zone) return false;
  if (rolling) {
    reader.problem("timezone", "is for calendar windows, and this one rolls",
                   "leave it out, or write window = \"day\", \"week\" or \"month\"");
    return false;
  }
  if (!is_timezone_shape(*zone)) {
    reader.problem("timezone", "\"" + *zone + "\" is no time zone",
                   "write it like \"Europe/Berlin\"");
    return false;
  }
  window.timezone = *zone;
  return true;
}

// Nothing and a Problem when it is missing where it is needed, or wrong.
std::optional<Window> read_window(TomlReader& reader) {
  constexpr std::string_view kRemedy =
      "write a span from \"1s\" to \"31d\" like \"24h\", or \"day\", \"week\" or \"month\"";
  const bool present = reader.has("window");
  const auto text = reader.text("window");
  Window window;
  if (!text) {
    reader.text("timezone");
    if (!present) reader.problem("window", "is missing", "write window = \"24h\" or \"month\"");
    return std::nullopt;
  }
  const auto parsed = parse_window(*text);
  if (!parsed) {
    reader.text("timezone");
    reader.problem("window", "\"" + *text + "\" is no window", std::string(kRemedy));
    return std::nullopt;
  }
  window = *parsed;
  if (!read_timezone(reader, window)) return std::nullopt;
  return window;
}

// What counts the requests that run now has no window; a key that would do nothing is a mistake.
bool refuse_window(TomlReader& reader) {
  bool absent = true;
  for (const char* key : {"window", "timezone"}) {
    reader.text(key);
    if (!reader.has(key)) continue;
    reader.problem(key, "means nothing here: concurrent counts what runs now",
                   std::string("leave ") + key + " out, or add usd, tokens or requests");
    absent = false;
  }
  return absent;
}

bool read_usd(TomlReader& reader, std::vector<Amount>& amounts) {
  const bool present = reader.has("usd");
  const auto text = reader.text("usd");
  if (!text) return !present;
  const auto amount = parse_usd(*text);
  if (!amount || amount->value <= 0) {
    reader.problem("usd", "\"" + *text + "\" is no amount above 0", "write it like \"25.00\"");
    return false;
  }
  amounts.push_back({"usd", LimitUnit::usd, amount->value});
  return true;
}

// In the order of the units; nothing after a Problem.
std::optional<std::vector<Amount>> read_amounts(TomlReader& reader) {
  std::vector<Amount> amounts;
  bool fine = read_usd(reader, amounts);
  for (const auto& [key, unit] : kCounts) {
    const auto value = reader.number(key, 1, kAmountMax);
    if (value) amounts.push_back({key, unit, static_cast<int64_t>(*value)});
    fine = fine && value.has_value() == reader.has(key);
  }
  if (!fine) return std::nullopt;
  if (!amounts.empty()) return amounts;
  reader.problem("", "limits nothing",
                 "write one or more of usd = \"25.00\", tokens, requests, concurrent");
  return std::nullopt;
}

bool read_downgrade(TomlReader& reader, const Rule& rule, Draft& draft, Limit& limit) {
  auto table = reader.table("on_exceed");
  limit.on_exceed = OnExceed::downgrade;
  limit.downgrade_model = table->required_text("model", "\"gpt-6-luna\"");
  table->finish();
  if (limit.downgrade_model.empty()) return false;
  if (limit.downgrade_model.find_first_of("*?") != std::string::npos ||
      !is_name(limit.downgrade_model)) {
    table->problem("model", "\"" + limit.downgrade_model + "\" is no model",
                   "write the name of one model, like \"gpt-6-luna\"");
    return false;
  }
  if (reader.has("concurrent")) {
    reader.problem("on_exceed", "serves another model, which ends no request that runs",
                   "write \"refuse\" or \"warn\", or move concurrent to a limit of its own");
    return false;
  }
  draft.downgrades.push_back(
      {rule.groups,
       {limit.downgrade_model, table->line_of("model"), reader.path_of("on_exceed.model")}});
  return true;
}

bool read_on_exceed(TomlReader& reader, const Rule& rule, Draft& draft, Limit& limit) {
  if (reader.is_table("on_exceed")) return read_downgrade(reader, rule, draft, limit);
  return parse_choice(reader, "on_exceed", {{"refuse", OnExceed::refuse}, {"warn", OnExceed::warn}},
                      limit.on_exceed);
}

bool read_per(TomlReader& reader, Limit& limit) {
  if (!reader.has("per")) reader.problem("per", "is missing", "write per = \"user\" or \"group\"");
  const bool present = reader.has("per");
  return parse_choice(reader, "per", {{"user", LimitScope::user}, {"group", LimitScope::group}},
                      limit.per) &&
         present;
}

void add(TomlReader& reader, const Amount& amount, Limit limit, Rule& rule) {
  limit.unit = amount.unit;
  limit.amount = amount.value;
  if (limit.unit == LimitUnit::concurrent) limit.window = {};
  const bool again = std::any_of(rule.limits.begin(), rule.limits.end(), [&](const Limit& other) {
    return other.per == limit.per && other.unit == limit.unit && other.window == limit.window;
  });
  if (again) {
    reader.problem(amount.key, "is limited twice by this policy for the same per and window",
                   "keep one of the two");
    return;
  }
  rule.limits.push_back(std::move(limit));
}

void parse_limit(TomlReader& reader, Draft& draft, Rule& rule) {
  Limit limit;
  const bool has_per = read_per(reader, limit);
  const auto amounts = read_amounts(reader);
  const bool has_outcome = read_on_exceed(reader, rule, draft, limit);
  const bool only_concurrent = reader.has("concurrent") && !reader.has("usd") &&
                               !reader.has("tokens") && !reader.has("requests");
  bool has_window = true;
  if (only_concurrent) {
    has_window = refuse_window(reader);
  } else if (auto window = read_window(reader)) {
    limit.window = *std::move(window);
  } else {
    has_window = false;
  }
  reader.finish();
  if (!has_per || !amounts || !has_outcome || !has_window) return;
  for (const Amount& amount : *amounts)
    add(reader, amount, limit, rule);
}

}  // namespace

void parse_policy_limits(TomlReader& policy, Draft& draft, Rule& rule) {
  for (TomlReader& reader :
       policy.tables("limit", "write [[policy.limit]] and its keys below the policy")) {
    parse_limit(reader, draft, rule);
  }
}

}  // namespace tollgate::policy
