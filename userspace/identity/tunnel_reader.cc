#include "userspace/identity/tunnel_reader.h"

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

namespace tollgate::identity {
namespace {

constexpr size_t kAnswerBytes = 64 * 1024;  // twice what the kernel puts into one datagram
constexpr timeval kPatience{5, 0};          // the kernel answers at once, or not at all
constexpr int kAttempts = 4;                // of a device that changes while it is read

Result<UniqueFd> open_netlink(int protocol, uint32_t groups) {
  UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  if (!fd) return system_error(errno, "open netlink");
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  own.nl_groups = groups;
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0 ||
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) != 0) {
    return system_error(errno, "set up netlink");
  }
  return fd;
}

}  // namespace

TunnelReader::TunnelReader(std::vector<std::string> names)
    : names_(std::move(names)), buffer_(kAnswerBytes) {}

TunnelReader::~TunnelReader() {
  ::explicit_bzero(buffer_.data(), buffer_.size());
}

Result<std::unique_ptr<TunnelReader>> TunnelReader::make(std::vector<std::string> names) {
  std::unique_ptr<TunnelReader> reader(new TunnelReader(std::move(names)));
  auto events = open_netlink(NETLINK_ROUTE, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR);
  if (!events) return std::move(events).forward();
  reader->events_ = std::move(*events);
  return reader;
}

void TunnelReader::drain_events() {
  // What came does not matter, nor that some was lost (ENOBUFS): all is read anew.
  while (::recv(events_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT) > 0 ||
         errno == ENOBUFS || errno == EINTR) {
  }
}

Result<std::vector<Tunnel>> TunnelReader::read() {
  std::vector<Tunnel> tunnels;
  for (const std::string& name : names_) {
    auto tunnel = read_one(name);
    // The private key of the device was in it.
    ::explicit_bzero(buffer_.data(), buffer_.size());
    if (!tunnel) {
      // What is left of an answer must not be taken for the next one's.
      route_.reset();
      generic_.reset();
      family_ = 0;
      Error error = std::move(tunnel).forward();
      error.text = name + ": " + error.text;
      return error;
    }
    tunnels.push_back(std::move(*tunnel));
  }
  return tunnels;
}

Result<Tunnel> TunnelReader::read_one(const std::string& name) {
  Tunnel tunnel;
  tunnel.name = name;
  auto answer = ask(route_, NETLINK_ROUTE, link_question(name));
  if (!answer) return std::move(answer).forward();
  const auto link = parse_link(*answer);
  if (!link && link.error().sys_errno == ENODEV) return tunnel;
  if (!link) return Error(link.error());
  tunnel.ifindex = link->ifindex;
  tunnel.up = link->up;
  if (link->kind != "wireguard") return tunnel;
  Result<std::vector<TunnelPeer>> peers = read_peers(link->ifindex);
  for (int i = 1; i < kAttempts && !peers && peers.error().sys_errno == EINTR; ++i)
    peers = read_peers(link->ifindex);
  if (peers) {
    tunnel.wireguard = true;
    tunnel.peers = std::move(*peers);
    return tunnel;
  }
  const Error& error = peers.error();
  generic_.reset();
  family_ = 0;
  if (error.sys_errno == EPERM) {
    tunnel.unreadable = error.text;
  } else if (error.sys_errno == ENODEV) {
    tunnel.ifindex = 0;  // gone between the two questions
    tunnel.up = false;
  } else {
    return error;
  }
  return tunnel;
}

Result<std::vector<TunnelPeer>> TunnelReader::read_peers(uint32_t ifindex) {
  if (family_ == 0) {
    auto answer = ask(generic_, NETLINK_GENERIC, family_question());
    if (!answer) return std::move(answer).forward();
    const auto family = parse_family(*answer);
    if (!family) return Error(family.error());
    family_ = *family;
  }
  DeviceDump dump;
  auto answer = ask(generic_, NETLINK_GENERIC, device_question(family_, ifindex));
  while (answer) {
    const auto last = dump.add(*answer);
    if (!last) {
      generic_.reset();
      return Error(last.error());
    }
    if (*last) return dump.take();
    answer = receive(generic_);
  }
  return std::move(answer).forward();
}

Result<std::span<const std::byte>> TunnelReader::ask(UniqueFd& socket, int protocol,
                                                     const Bytes& question) {
  if (!socket) {
    auto opened = open_netlink(protocol, 0);
    if (!opened) return std::move(opened).forward();
    socket = std::move(*opened);
  }
  if (::send(socket.get(), question.data(), question.size(), 0) < 0) {
    return system_error(errno, "ask over netlink");
  }
  return receive(socket);
}

Result<std::span<const std::byte>> TunnelReader::receive(const UniqueFd& socket) {
  for (;;) {
    sockaddr_nl from{};
    iovec part{buffer_.data(), buffer_.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t got = ::recvmsg(socket.get(), &message, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error(errno, "hear from netlink");
    if ((message.msg_flags & MSG_TRUNC) != 0) return system_error(EMSGSIZE, "hear from netlink");
    if (from.nl_pid != 0) continue;  // not the kernel
    return std::span<const std::byte>(buffer_.data(), static_cast<size_t>(got));
  }
}

}  // namespace tollgate::identity
