// Secret holds a credential: wiped on destruction, without a formatter or an implicit conversion,
// so that it reaches a log only by a visible call of reveal().
#pragma once

#include <string>
#include <string_view>

#include "userspace/base/result.h"

namespace tollgate {

class Secret {
 public:
  Secret() = default;
  // Takes the bytes and wipes the source string.
  explicit Secret(std::string&& bytes);
  Secret(Secret&& other) noexcept;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  bool empty() const { return bytes_.empty(); }
  std::string_view reveal() const { return bytes_; }

 private:
  std::string bytes_;
};

// Overwrites the bytes in a way that the compiler keeps.
void wipe(std::string& bytes);

// Reads a key file: one line, surrounding white space dropped, 1 to 4096 visible ASCII bytes.
// Refuses a file that others may read (mode & 0007), with the chmod that mends it as hint.
Result<Secret> read_secret_file(const std::string& path);

}  // namespace tollgate
