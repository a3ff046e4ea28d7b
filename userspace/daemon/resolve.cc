#include "userspace/daemon/resolve.h"

#include <netdb.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <memory>

namespace tollgate::daemon {
namespace {

constexpr std::chrono::seconds kRefresh{60};
constexpr std::chrono::seconds kRetry{3};  // while a name has no address

}  // namespace

std::vector<Endpoint> resolve_host(const AddressBook::Host& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  std::vector<Endpoint> endpoints;
  if (const auto literal = parse_ip(host.first)) return {{*literal, host.second}};
  if (::getaddrinfo(host.first.c_str(), nullptr, &hints, &list) != 0) return endpoints;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ai_addr, std::min<size_t>(entry->ai_addrlen, sizeof storage));
    if (auto endpoint = endpoint_from_sockaddr(storage)) {
      endpoint->port = host.second;
      endpoints.push_back(*endpoint);
    }
  }
  ::freeaddrinfo(list);
  return endpoints;
}

AddressBook::AddressBook(std::function<void()> changed) : changed_(std::move(changed)) {
  thread_ = std::thread([this] { run(); });
}

AddressBook::~AddressBook() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void AddressBook::follow(std::vector<Host> hosts, std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  hosts_ = std::move(hosts);
  const uint64_t mine = ++asked_;
  wake_.notify_all();
  wake_.wait_for(lock, patience, [&] { return answered_ >= mine; });
}

AddressBook::Addresses AddressBook::addresses() const {
  const std::lock_guard lock(mutex_);
  return addresses_;
}

void AddressBook::run() {
  ::pthread_setname_np(::pthread_self(), "tg-resolver");
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const std::vector<Host> hosts = hosts_;
    const uint64_t asked = asked_;
    lock.unlock();
    Addresses fresh;
    bool missing = false;
    for (const Host& host : hosts) {
      std::vector<Endpoint> endpoints = resolve_host(host);
      missing = missing || endpoints.empty();
      fresh.emplace(host, std::move(endpoints));
    }
    lock.lock();
    for (auto& [host, endpoints] : fresh) {
      // A resolver that fails now does not take away addresses that worked.
      const auto known = addresses_.find(host);
      if (endpoints.empty() && known != addresses_.end()) endpoints = known->second;
    }
    const bool changed = fresh != addresses_;
    addresses_ = std::move(fresh);
    answered_ = asked;
    wake_.notify_all();
    if (changed) {
      lock.unlock();
      changed_();
      lock.lock();
    }
    wake_.wait_for(lock, missing ? kRetry : kRefresh,
                   [&] { return stopping_ || asked_ != answered_; });
  }
}

AddressBook::Addresses ask_once(std::vector<AddressBook::Host> hosts,
                                std::chrono::milliseconds patience) {
  // The thread may outlive this call: getaddrinfo cannot be interrupted.
  auto answer = std::make_shared<std::promise<AddressBook::Addresses>>();
  std::future<AddressBook::Addresses> future = answer->get_future();
  std::thread([answer, hosts = std::move(hosts)] {
    AddressBook::Addresses found;
    for (const AddressBook::Host& host : hosts)
      found.emplace(host, resolve_host(host));
    answer->set_value(std::move(found));
  }).detach();
  if (future.wait_for(patience) != std::future_status::ready) return {};
  return future.get();
}

}  // namespace tollgate::daemon
