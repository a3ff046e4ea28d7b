// Keeps the providers' addresses: a thread that asks the resolver, which may take its time, and
// hands over what changed. The data plane never waits for DNS.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "userspace/base/ip.h"

namespace tollgate::daemon {

// Asks the resolver, which may take its time; empty: no address.
std::vector<Endpoint> resolve_host(const std::pair<std::string, uint16_t>& host);

class AddressBook {
 public:
  using Host = std::pair<std::string, uint16_t>;
  using Addresses = std::map<Host, std::vector<Endpoint>>;

  // `changed` is called on the resolver's thread when the answers differ from the last ones.
  explicit AddressBook(std::function<void()> changed);
  ~AddressBook();

  // Replaces the set of names and waits for a first answer, at most `patience`.
  void follow(std::vector<Host> hosts, std::chrono::milliseconds patience);
  Addresses addresses() const;

 private:
  void run();

  std::function<void()> changed_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Host> hosts_;
  Addresses addresses_;
  uint64_t asked_ = 0;     // follow() calls
  uint64_t answered_ = 0;  // of them resolved
  bool stopping_ = false;
  std::thread thread_;
};

// One answer for all hosts, or nothing when it takes longer than `patience`.
AddressBook::Addresses ask_once(std::vector<AddressBook::Host> hosts,
                                std::chrono::milliseconds patience);

}  // namespace tollgate::daemon
