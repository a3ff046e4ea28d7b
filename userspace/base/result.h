// Result<T>: a value or an Error, named like std::expected so that it can become one.
//
// Exceptions never cross a function of ours. An Error says whose fault it is, so that a caller can
// tell "refuse the client" from "the operator must act" without reading the text. Text is verb
// first with the offending value ("bind 100.64.0.1:443: address in use"); a hint, where there is
// one, is the command or edit that helps.
#pragma once

#include <cassert>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace tollgate {

enum class Fault {
  self,      // our bug
  peer,      // the client sent something wrong
  upstream,  // the provider did
  config,    // the administrator's file
  system,    // kernel, disk, memory
};

struct Error {
  Fault fault = Fault::self;
  int sys_errno = 0;
  std::string text;
  std::string hint;
};

// Builds "TEXT: strerror" for a failed system call.
inline Error system_error(int sys_errno, std::string text) {
  text += ": ";
  text += std::strerror(sys_errno);
  return Error{Fault::system, sys_errno, std::move(text), {}};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT implicit

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }
  // Passes the error on as any other Result: `if (!fd) return std::move(fd).forward();`
  Error forward() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::in_place_index<1>, std::move(error)) {}  // NOLINT implicit

  bool has_value() const { return error_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  const Error& error() const { return std::get<1>(error_); }
  Error forward() && { return std::get<1>(std::move(error_)); }

 private:
  std::variant<std::monostate, Error> error_;
};

using Status = Result<void>;

}  // namespace tollgate

// Our bug, not anyone's input: checked in release builds too.
#define TG_ASSERT(condition)                                        \
  do {                                                              \
    if (!(condition)) [[unlikely]]                                  \
      ::tollgate::assertion_failed(#condition, __FILE__, __LINE__); \
  } while (false)

namespace tollgate {
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);
}
