#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <string_view>

#include "userspace/base/fault_point.h"

namespace tollgate {
namespace {

struct Fault {
  std::string_view place;  // empty: none
  std::atomic<uint64_t> left{1};

  Fault() {
    const char* wanted = ::getenv("TOLLGATE_FAULT");
    if (wanted == nullptr) return;
    const std::string_view text = wanted;
    place = text.substr(0, text.find(':'));
    if (place.size() == text.size()) return;
    const std::string_view number = text.substr(place.size() + 1);
    uint64_t nth = 0;
    const auto end = std::from_chars(number.data(), number.data() + number.size(), nth);
    // A test that asks for nonsense must not pass for want of a fault.
    if (end.ec != std::errc() || end.ptr != number.data() + number.size() || nth == 0) ::abort();
    left = nth;
  }
};

}  // namespace

bool fault_asked(const char* place) {
  static Fault fault;
  return fault.place == place && fault.left.fetch_sub(1) == 1;
}

void fault_point(const char* place) {
  if (!fault_asked(place)) return;
  ::kill(::getpid(), SIGKILL);
  // Nothing after the place may run, even if another thread takes the signal first.
  for (;;)
    ::pause();
}

}  // namespace tollgate
