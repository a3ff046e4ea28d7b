// Request heads that must be accepted or refused; shared by our test and the comparison with Beast.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "userspace/codec/http1.h"

namespace tollgate::codec::testing {

struct HeadCase {
  std::string_view description;
  std::string head;
  HeadFault fault = HeadFault::none;
};

inline std::string post(std::string_view fields) {
  return "POST /v1/responses HTTP/1.1\r\nhost: gw\r\n" + std::string(fields) + "\r\n";
}

inline std::string target(std::string_view text) {
  return "GET " + std::string(text) + " HTTP/1.1\r\nhost: gw\r\n\r\n";
}

inline std::vector<HeadCase> request_corpus() {
  using enum HeadFault;
  return {
      {"plain", post("content-length: 5\r\n")},
      {"no body", post("")},
      {"chunked, any case", post("Transfer-Encoding: Chunked\r\n")},
      {"one leading CRLF", "\r\n" + post("")},
      {"obs-text in a value", post("x: caf\xc3\xa9\r\n")},
      {"empty value", post("x:\r\n")},
      {"query", target("/v1/models?client_version=0.169.0")},
      {"percent escape", target("/v1/a%20b")},
      {"host with port", "GET / HTTP/1.1\r\nhost: [fd99::1]:443\r\n\r\n"},
      {"expect", post("expect: 100-Continue\r\ncontent-length: 5\r\n")},
      {"CL and TE", post("content-length: 5\r\ntransfer-encoding: chunked\r\n"), ambiguous},
      {"TE and CL", post("transfer-encoding: chunked\r\ncontent-length: 5\r\n"), ambiguous},
      {"two CL, equal", post("content-length: 5\r\ncontent-length: 5\r\n"), ambiguous},
      {"two CL, different", post("content-length: 5\r\ncontent-length: 6\r\n"), ambiguous},
      {"CL list", post("content-length: 5, 5\r\n"), ambiguous},
      {"empty CL", post("content-length:\r\n"), malformed},
      {"CL with plus", post("content-length: +5\r\n"), malformed},
      {"CL negative", post("content-length: -5\r\n"), malformed},
      {"CL hex", post("content-length: 0x5\r\n"), malformed},
      {"CL with underscore", post("content-length: 1_0\r\n"), malformed},
      {"CL with leading zero", post("content-length: 010\r\n"), malformed},
      {"CL overflow", post("content-length: 18446744073709551621\r\n"), malformed},
      {"TE with empty element", post("transfer-encoding: ,chunked\r\n"), ambiguous},
      {"TE with second coding", post("transfer-encoding: gzip, chunked\r\n"), ambiguous},
      {"TE identity", post("transfer-encoding: identity\r\n"), ambiguous},
      {"TE misspelt", post("transfer-encoding: xchunked\r\n"), ambiguous},
      {"TE twice", post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"), ambiguous},
      {"bare LF after a field", post("x: a\n"), malformed},
      {"bare LF as the end", "GET / HTTP/1.1\nhost: gw\n\n", malformed},
      {"bare CR in a value", post("x: a\rb\r\n"), malformed},
      {"folded line", post("x: a\r\n b\r\n"), malformed},
      {"space before colon", post("content-length : 5\r\n"), malformed},
      {"NUL in a value", post(std::string_view("x: a\0b\r\n", 8)), malformed},
      {"DEL in a value", post("x: a\x7f\r\n"), malformed},
      {"empty name", post(": a\r\n"), malformed},
      {"high byte in a name", post("x\xe9: a\r\n"), malformed},
      {"no colon", post("xa\r\n"), malformed},
      {"fragment", target("/v1/models#x"), malformed},
      {"absolute form", target("http://gw/v1/models"), malformed},
      {"userinfo", target("http://a@gw/"), malformed},
      {"network-path form", target("//evil/v1/models"), malformed},
      {"asterisk form", "OPTIONS * HTTP/1.1\r\nhost: gw\r\n\r\n", malformed},
      {"authority form", "CONNECT gw:443 HTTP/1.1\r\nhost: gw\r\n\r\n", malformed},
      {"broken escape", target("/v1/%2"), malformed},
      {"space in target", target("/v1 /x"), malformed},
      {"backslash in target", target("/v1\\x"), malformed},
      {"no Host", "GET / HTTP/1.1\r\n\r\n", malformed},
      {"two Hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", malformed},
      {"empty Host", "GET / HTTP/1.1\r\nhost:\r\n\r\n", malformed},
      {"Host with userinfo", "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", malformed},
      {"HTTP/1.0", "GET / HTTP/1.0\r\nhost: gw\r\n\r\n", version},
      {"HTTP/1.2", "GET / HTTP/1.2\r\nhost: gw\r\n\r\n", version},
      {"HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", version},
      {"space after version", "GET / HTTP/1.1 \r\nhost: gw\r\n\r\n", malformed},
      {"lower-case version", "GET / http/1.1\r\nhost: gw\r\n\r\n", malformed},
      {"two leading CRLF", "\r\n\r\n" + post(""), malformed},
      {"unknown Expect", post("expect: 200-ok\r\n"), malformed},
      {"Connection option with space", post("connection: a b\r\n"), malformed},
  };
}

}  // namespace tollgate::codec::testing
