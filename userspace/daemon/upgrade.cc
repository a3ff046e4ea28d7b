#include "userspace/daemon/upgrade.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>

#include "ringbuf/record.h"
#include "userspace/kernel/steering.h"

namespace tollgate::daemon {
namespace {

constexpr const char* kInstead = "stop the running tollgated and start this one instead";

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names)
    text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Hello own_hello(const policy::GatewayConfig& gateway) {
  Hello hello;
  hello.protocol = kHandoverProtocol;
  hello.records = ringbuf::kRecordVersion;
  hello.bpf_abi = kernel::abi_version();
  hello.ledger = ledger::ledger_version();
  hello.release = TOLLGATE_VERSION;
  hello.steering = gateway.steering;
  for (const Endpoint& endpoint : gateway.listen)
    hello.listen.push_back(to_string(endpoint));
  return hello;
}

Status check_alike(const Hello& ours, const Hello& theirs) {
  const auto differ = [](const std::string& what, const std::string& one,
                         const std::string& other) {
    return Error{
        Fault::config, 0,
        "take over: " + what + " is " + one + " here and " + other + " in the running daemon",
        kInstead};
  };
  const struct {
    const char* what;
    int64_t one;
    int64_t other;
  } numbers[] = {{"the handover protocol", ours.protocol, theirs.protocol},
                 {"the record version", ours.records, theirs.records},
                 {"the layout of the BPF maps", ours.bpf_abi, theirs.bpf_abi},
                 {"the ledger's schema", ours.ledger, theirs.ledger}};
  for (const auto& row : numbers) {
    if (row.one == row.other) continue;
    return differ(row.what, std::to_string(row.one), std::to_string(row.other));
  }
  if (ours.steering != theirs.steering) {
    return differ("gateway.steering", ours.steering, theirs.steering);
  }
  if (ours.listen != theirs.listen) {
    return differ("gateway.listen", joined(ours.listen), joined(theirs.listen));
  }
  return {};
}

void notify_main_pid(pid_t pid) {
  const char* path = ::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = path == nullptr ? 0 : std::char_traits<char>::length(path);
  if (length < 2 || length >= sizeof address.sun_path) return;
  std::char_traits<char>::copy(address.sun_path, path, length);
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;  // an abstract name
  const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const std::string text = "MAINPID=" + std::to_string(pid);
  // Nobody to tell about it: systemd takes the service for ended then, which its log shows.
  (void)!::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&address),
                  static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

}  // namespace tollgate::daemon
