// HTTP/1.1 message heads and bodies, sans-I/O, stricter than RFC 9112 asks: what a lenient peer
// could read in two ways is a fault (request smuggling; see the traps in http1_test.cc). Views
// point into the caller's buffer, which must outlive them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tollgate::codec {

struct Field {
  std::string_view name;   // as sent
  std::string_view value;  // optional white space trimmed
};

enum class HeadFault : uint8_t {
  none,
  malformed,  // syntax
  too_large,  // bytes or number of fields over the bound, checked while reading
  ambiguous,  // CL with TE, several CL, unknown coding: framing could be read two ways
  version,    // not HTTP/1.1
};

struct HeadLimits {
  size_t bytes_max = 64 * 1024;
  size_t fields_max = 100;
};

struct RequestHead {
  std::string_view method;
  std::string_view path;   // origin form, before '?'
  std::string_view query;  // after '?', empty when none
  std::vector<Field> fields;
  std::optional<uint64_t> content_length;
  bool chunked = false;
  bool keep_alive = true;
  bool expect_continue = false;
  bool upgrade = false;  // Connection names upgrade and an Upgrade field is there

  std::string_view field(std::string_view lower_name) const;  // "" when absent; first one
};

enum class BodyFraming : uint8_t { none, length, chunked, until_close };

struct ResponseHead {
  int status = 0;
  std::string_view reason;
  std::vector<Field> fields;
  BodyFraming framing = BodyFraming::none;
  uint64_t content_length = 0;
  bool keep_alive = true;

  std::string_view field(std::string_view lower_name) const;
};

enum class HeadState : uint8_t { need_more, complete, fault };

struct HeadResult {
  HeadState state = HeadState::need_more;
  HeadFault fault = HeadFault::none;
  std::string_view why;   // static text for the refusal and the log
  size_t head_bytes = 0;  // complete: where the body starts
};

// `scanned` is the caller's: 0 for a new head, kept between calls, so that a head that arrives byte
// by byte is not searched again from its start. Accepts one leading CRLF (RFC 9112 2.2).
HeadResult parse_request_head(std::string_view buffer, const HeadLimits& limits, size_t& scanned,
                              RequestHead& head);
// `request_method` decides whether a body follows (HEAD: none). A 1xx head is complete with
// framing none; the caller reads on.
HeadResult parse_response_head(std::string_view buffer, const HeadLimits& limits,
                               std::string_view request_method, size_t& scanned,
                               ResponseHead& head);

// Takes the chunked coding off. `next` consumes from `in` and yields one run of body bytes at a
// time; trailers are checked for syntax, bounded and dropped.
class ChunkedDecoder {
 public:
  enum class State : uint8_t { data, need_more, done, fault };
  struct Step {
    State state;
    std::span<const std::byte> data;  // state data: a run of body bytes inside `in`
  };
  // Advances `in` past what was consumed. Call until it is not `data`.
  Step next(std::span<const std::byte>& in);

 private:
  enum class At : uint8_t {
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer,
    done,
    fault
  };
  At after_line_byte(char c);
  At after_trailer_byte(char c);

  At at_ = At::size;
  uint64_t remaining_ = 0;
  uint32_t line_bytes_ = 0;  // of the chunk line or the trailers, bounded
  uint8_t size_digits_ = 0;
  uint8_t trailer_match_ = 0;
};

bool equals_ignoring_case(std::string_view a, std::string_view b);
// True for fields that end at this hop: Connection, Keep-Alive, TE, Transfer-Encoding, ..., and any
// that the Connection field names.
bool is_hop_by_hop(std::string_view name, std::string_view connection_value);

}  // namespace tollgate::codec
