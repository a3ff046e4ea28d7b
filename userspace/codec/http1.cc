#include "userspace/codec/http1.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "userspace/codec/chars.h"

namespace tollgate::codec {
namespace {

// Eighteen digits cannot overflow 64 bits, and an exabyte is no body.
constexpr size_t kContentLengthDigitsMax = 18;

HeadResult fault(HeadFault kind, std::string_view why) {
  return {HeadState::fault, kind, why, 0};
}

struct Refusal {
  HeadFault kind = HeadFault::none;
  std::string_view why;
  explicit operator bool() const { return kind != HeadFault::none; }
};

Refusal malformed(std::string_view why) {
  return {HeadFault::malformed, why};
}
Refusal ambiguous(std::string_view why) {
  return {HeadFault::ambiguous, why};
}

struct Bounds {
  HeadResult result;
  std::string_view lines;  // complete: the start line and the fields, each with its CRLF
};

// Looks for the empty line. A bare LF is refused at once: waiting for a CRLF that a lenient sender
// never means to send would turn a smuggling attempt into a time-out.
Bounds find_head(std::string_view buffer, const HeadLimits& limits, size_t& scanned) {
  const std::string_view bounded = buffer.substr(0, limits.bytes_max);
  const size_t first = bounded.starts_with("\r\n") ? 2 : 0;
  size_t from = std::min(scanned, bounded.size());
  while (true) {
    const size_t lf = bounded.find('\n', from);
    if (lf == bounded.npos) break;
    if (lf == 0 || bounded[lf - 1] != '\r') {
      return {fault(HeadFault::malformed, "line ends without CR"), {}};
    }
    from = lf + 1;
    if (lf < 3 || bounded[lf - 2] != '\n') continue;
    if (lf - 1 == first) return {fault(HeadFault::malformed, "empty start line"), {}};
    scanned = from;
    return {{HeadState::complete, HeadFault::none, {}, from},
            bounded.substr(first, lf - 1 - first)};
  }
  scanned = bounded.size();
  if (buffer.size() >= limits.bytes_max) {
    return {fault(HeadFault::too_large, "head over the size limit"), {}};
  }
  return {};
}

std::string_view take_line(std::string_view& lines) {
  const size_t lf = lines.find('\n');
  const std::string_view line = lines.substr(0, lf - 1);
  lines.remove_prefix(lf + 1);
  return line;
}

Refusal parse_fields(std::string_view lines, const HeadLimits& limits, std::vector<Field>& fields) {
  while (!lines.empty()) {
    const std::string_view line = take_line(lines);
    if (fields.size() == limits.fields_max) {
      return {HeadFault::too_large, "more fields than the limit"};
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) return malformed("field without colon");
    const std::string_view name = line.substr(0, colon);
    // Also refuses white space before the colon and folded lines, which begin with it.
    if (!is_token(name)) return malformed("field name with a forbidden byte");
    const std::string_view value = line.substr(colon + 1);
    if (!value.empty() && !all_of_class(value, kValueByte)) {
      return malformed("field value with a control byte");
    }
    fields.push_back({name, trim_ows(value)});
  }
  return {};
}

Refusal check_version(std::string_view version) {
  if (version == "HTTP/1.1") return {};
  const bool shaped = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.' &&
                      is_class(version[5], kDigitByte) && is_class(version[7], kDigitByte);
  if (shaped) return {HeadFault::version, "not HTTP/1.1"};
  return malformed("no HTTP version");
}

// What the fields say about framing and the connection; the same for both directions.
struct Meaning {
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool close = false;
  bool names_upgrade = false;
  bool has_upgrade = false;
  bool expect_continue = false;
  bool has_host = false;
};

Refusal read_content_length(std::string_view value, Meaning& meaning) {
  if (meaning.content_length || value.find(',') != value.npos) {
    return ambiguous("several Content-Length values");
  }
  if (value.empty() || !all_of_class(value, kDigitByte)) {
    return malformed("Content-Length is not a number");
  }
  // "010" is eight to a parser that takes it for octal.
  if (value.size() > 1 && value.front() == '0')
    return malformed("Content-Length with leading zero");
  if (value.size() > kContentLengthDigitsMax) return malformed("Content-Length out of range");
  uint64_t length = 0;
  for (const char c : value)
    length = length * 10 + static_cast<uint64_t>(c - '0');
  meaning.content_length = length;
  return {};
}

Refusal read_connection(std::string_view list, Meaning& meaning) {
  while (!list.empty()) {
    const std::string_view option = next_list_element(list);
    if (option.empty()) continue;
    if (!is_token(option)) return malformed("Connection option is not a token");
    meaning.close |= equals_ignoring_case(option, "close");
    meaning.names_upgrade |= equals_ignoring_case(option, "upgrade");
  }
  return {};
}

Refusal read_host(std::string_view value, Meaning& meaning) {
  if (meaning.has_host) return malformed("several Host fields");
  if (value.empty() || !all_of_class(value, kHostByte)) return malformed("Host is not a host");
  meaning.has_host = true;
  return {};
}

enum class Direction : uint8_t { request, response };

Refusal read_field(const Field& field, Direction direction, Meaning& meaning) {
  const std::string_view name = field.name;
  const std::string_view value = field.value;
  const auto is = [&](std::string_view lower) { return equals_ignoring_case(name, lower); };
  switch (name.size()) {  // most fields are told apart by their length alone
    case 4:
      if (direction == Direction::request && is("host")) return read_host(value, meaning);
      return {};
    case 6:
      if (direction == Direction::request && is("expect")) {
        if (!equals_ignoring_case(value, "100-continue")) return malformed("unknown Expect");
        meaning.expect_continue = true;
      }
      return {};
    case 7:
      if (is("upgrade")) meaning.has_upgrade = true;
      return {};
    case 10:
      if (is("connection")) return read_connection(value, meaning);
      return {};
    case 14:
      if (is("content-length")) return read_content_length(value, meaning);
      return {};
    case 17:
      if (!is("transfer-encoding")) return {};
      if (meaning.chunked) return ambiguous("several Transfer-Encoding fields");
      if (!equals_ignoring_case(value, "chunked")) {
        return ambiguous("Transfer-Encoding is not exactly chunked");
      }
      meaning.chunked = true;
      return {};
    default:
      return {};
  }
}

Refusal read_fields(const std::vector<Field>& fields, Direction direction, Meaning& meaning) {
  for (const Field& field : fields) {
    if (const Refusal refusal = read_field(field, direction, meaning)) return refusal;
  }
  if (meaning.chunked && meaning.content_length) {
    return ambiguous("Content-Length with Transfer-Encoding");
  }
  return {};
}

Refusal check_target(std::string_view target) {
  if (!target.starts_with('/')) return malformed("target is not in origin form");
  // A resolver of references would take what follows for an authority.
  if (target.starts_with("//")) return malformed("target begins with //");
  if (!all_of_class(target, kTargetByte)) return malformed("target with a forbidden byte");
  for (size_t i = target.find('%'); i != target.npos; i = target.find('%', i + 1)) {
    if (i + 2 >= target.size() || hex_value(target[i + 1]) < 0 || hex_value(target[i + 2]) < 0) {
      return malformed("target with a broken percent escape");
    }
  }
  return {};
}

Refusal parse_request_line(std::string_view line, RequestHead& head) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return malformed("request line is not three parts");
  head.method = line.substr(0, first);
  if (!is_token(head.method)) return malformed("method is not a token");
  if (const Refusal refusal = check_version(line.substr(last + 1))) return refusal;
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (const Refusal refusal = check_target(target)) return refusal;
  const size_t mark = target.find('?');
  head.path = target.substr(0, mark);
  head.query = mark == target.npos ? std::string_view{} : target.substr(mark + 1);
  return {};
}

Refusal parse_request(std::string_view lines, const HeadLimits& limits, RequestHead& head) {
  if (const Refusal refusal = parse_request_line(take_line(lines), head)) return refusal;
  if (const Refusal refusal = parse_fields(lines, limits, head.fields)) return refusal;
  Meaning meaning;
  if (const Refusal refusal = read_fields(head.fields, Direction::request, meaning)) return refusal;
  if (!meaning.has_host) return malformed("no Host field");
  head.content_length = meaning.content_length;
  head.chunked = meaning.chunked;
  head.keep_alive = !meaning.close;
  head.expect_continue = meaning.expect_continue;
  head.upgrade = meaning.names_upgrade && meaning.has_upgrade;
  return {};
}

Refusal parse_status_line(std::string_view line, ResponseHead& head) {
  if (const Refusal refusal = check_version(line.substr(0, 8))) return refusal;
  // "HTTP/1.1 200 " at least: the space before an empty reason is part of the grammar.
  if (line.size() < 13 || line[8] != ' ' || line[12] != ' ') return malformed("no status");
  const std::string_view digits = line.substr(9, 3);
  if (!all_of_class(digits, kDigitByte)) return malformed("status is not a number");
  for (const char c : digits)
    head.status = head.status * 10 + (c - '0');
  if (head.status < 100 || head.status > 599) return malformed("status out of range");
  head.reason = line.substr(13);
  if (!head.reason.empty() && !all_of_class(head.reason, kValueByte)) {
    return malformed("reason with a control byte");
  }
  return {};
}

Refusal frame_response(const Meaning& meaning, std::string_view request_method,
                       ResponseHead& head) {
  const bool never_a_body = head.status < 200 || head.status == 204;
  if (never_a_body && (meaning.chunked || meaning.content_length.value_or(0) != 0)) {
    // A lenient peer would read a body here; on a reused connection it would be the next answer.
    return ambiguous("body announced where there is none");
  }
  head.content_length = meaning.content_length.value_or(0);
  if (never_a_body || head.status == 304 || request_method == "HEAD") {
    head.framing = BodyFraming::none;
  } else if (meaning.chunked) {
    head.framing = BodyFraming::chunked;
  } else if (meaning.content_length) {
    head.framing = BodyFraming::length;
  } else {
    head.framing = BodyFraming::until_close;
  }
  head.keep_alive = !meaning.close && head.framing != BodyFraming::until_close;
  return {};
}

Refusal parse_response(std::string_view lines, const HeadLimits& limits,
                       std::string_view request_method, ResponseHead& head) {
  if (const Refusal refusal = parse_status_line(take_line(lines), head)) return refusal;
  if (const Refusal refusal = parse_fields(lines, limits, head.fields)) return refusal;
  Meaning meaning;
  if (const Refusal refusal = read_fields(head.fields, Direction::response, meaning)) {
    return refusal;
  }
  return frame_response(meaning, request_method, head);
}

std::string_view first_field(const std::vector<Field>& fields, std::string_view lower_name) {
  for (const Field& field : fields) {
    if (equals_ignoring_case(field.name, lower_name)) return field.value;
  }
  return {};
}

constexpr std::array<std::string_view, 10> kHopByHop = {
    "connection", "keep-alive",       "proxy-authenticate", "proxy-authorization",
    "te",         "trailer",          "trailers",           "transfer-encoding",
    "upgrade",    "proxy-connection",
};

}  // namespace

std::string_view RequestHead::field(std::string_view lower_name) const {
  return first_field(fields, lower_name);
}

std::string_view ResponseHead::field(std::string_view lower_name) const {
  return first_field(fields, lower_name);
}

HeadResult parse_request_head(std::string_view buffer, const HeadLimits& limits, size_t& scanned,
                              RequestHead& head) {
  const Bounds bounds = find_head(buffer, limits, scanned);
  if (bounds.result.state != HeadState::complete) return bounds.result;
  head = {};
  if (const Refusal r = parse_request(bounds.lines, limits, head)) return fault(r.kind, r.why);
  return bounds.result;
}

HeadResult parse_response_head(std::string_view buffer, const HeadLimits& limits,
                               std::string_view request_method, size_t& scanned,
                               ResponseHead& head) {
  const Bounds bounds = find_head(buffer, limits, scanned);
  if (bounds.result.state != HeadState::complete) return bounds.result;
  head = {};
  if (const Refusal r = parse_response(bounds.lines, limits, request_method, head)) {
    return fault(r.kind, r.why);
  }
  return bounds.result;
}

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

bool is_hop_by_hop(std::string_view name, std::string_view connection_value) {
  for (const std::string_view hop : kHopByHop) {
    if (equals_ignoring_case(name, hop)) return true;
  }
  while (!connection_value.empty()) {
    if (equals_ignoring_case(name, next_list_element(connection_value))) return true;
  }
  return false;
}

}  // namespace tollgate::codec
