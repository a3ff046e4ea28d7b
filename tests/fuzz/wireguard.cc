// Answers of the kernel, as if they were not: nothing is read out of bounds, and what is taken for
// a peer is one. The same bytes as a report of the tunnels too.
#include <algorithm>

#include "userspace/base/text.h"
#include "userspace/identity/tunnel_report.h"
#include "userspace/identity/wireguard.h"

using namespace tollgate;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  static_cast<void>(identity::parse_link(bytes).has_value());
  static_cast<void>(identity::parse_family(bytes).has_value());
  identity::DeviceDump dump;
  // In two datagrams as well as in one.
  const size_t half = size / 2;
  if (dump.add(bytes)) static_cast<void>(dump.add(bytes.subspan(half)).has_value());
  for (const auto& peer : dump.take()) {
    TG_ASSERT(is_base64(peer.public_key, 32));
    for (const IpPrefix& prefix : peer.allowed)
      TG_ASSERT(parse_prefix(to_string(prefix)) == prefix);
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto report = identity::parse_report(text, {"wg0"});
  if (report) {
    const auto again = identity::parse_report(identity::report_text(*report), {"wg0"});
    TG_ASSERT(again && *again == *report);
  }
  return 0;
}
