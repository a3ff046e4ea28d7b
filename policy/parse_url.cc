#include <charconv>

#include "policy/parse_internal.h"

namespace tollgate::policy {
namespace {

// A host name or address without brackets; strict, since it goes into a Host field and an SNI.
bool is_host(std::string_view host) {
  if (host.empty() || host.size() > 253) return false;
  if (parse_ip(host)) return true;
  for (const char c : host) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '.' && c != '_') return false;
  }
  return host.front() != '.' && host.front() != '-';
}

bool is_path(std::string_view path) {
  for (const char c : path) {
    if (c <= ' ' || c >= '\x7f' || c == '?' || c == '#' || c == '\\' || c == '"') return false;
  }
  return path.find("//") == path.npos && path.find("/../") == path.npos;
}

}  // namespace

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  const auto address = parse_ip(host);
  if (!address) return false;
  if (address->is_v4()) return address->bytes[12] == 127;
  return to_string(*address) == "::1";
}

std::optional<Url> parse_url(std::string_view url) {
  Url parsed;
  const size_t scheme_end = url.find("://");
  if (scheme_end == url.npos) return std::nullopt;
  parsed.scheme = url.substr(0, scheme_end);
  if (parsed.scheme != "https" && parsed.scheme != "http") return std::nullopt;
  std::string_view authority = url.substr(scheme_end + 3);
  std::string_view path;
  if (const size_t slash = authority.find('/'); slash != authority.npos) {
    path = authority.substr(slash);
    authority = authority.substr(0, slash);
  }
  while (path.ends_with('/'))
    path.remove_suffix(1);
  std::string_view host = authority;
  std::string_view port;
  const bool bracketed = authority.starts_with('[');
  const size_t host_end = bracketed ? authority.find(']') : authority.find(':');
  if (bracketed && host_end == authority.npos) return std::nullopt;
  if (bracketed) {
    host = authority.substr(1, host_end - 1);
    port = authority.substr(host_end + 1);
  } else if (host_end != authority.npos) {
    host = authority.substr(0, host_end);
    port = authority.substr(host_end);
  }
  if (!is_host(host) || bracketed != (host.find(':') != host.npos) || !is_path(path))
    return std::nullopt;
  parsed.host = host;
  parsed.path = path;
  parsed.port = parsed.scheme == "https" ? 443 : 80;
  if (port.empty()) return parsed;
  const char* end = port.data() + port.size();
  const auto [stop, failure] = std::from_chars(port.data() + 1, end, parsed.port);
  const bool is_port =
      port.front() == ':' && failure == std::errc{} && stop == end && parsed.port != 0;
  return is_port ? std::optional(parsed) : std::nullopt;
}

}  // namespace tollgate::policy
