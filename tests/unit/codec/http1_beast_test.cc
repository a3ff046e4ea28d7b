// The reason for a parser of our own: everything that Boost.Beast refuses is refused here too, and
// what only we refuse is counted.
#include <gtest/gtest.h>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdio>

#include "tests/unit/codec/http1_corpus.h"

namespace tollgate::codec {
namespace {

namespace http = boost::beast::http;

bool beast_accepts(const std::string& head) {
  http::request_parser<http::empty_body> parser;
  boost::beast::error_code error;
  parser.put(boost::asio::buffer(head), error);
  return !error && parser.is_header_done();
}

TEST(RequestHead, RefusesAllThatBeastRefuses) {
  int only_ours = 0;
  for (const auto& c : testing::request_corpus()) {
    RequestHead head;
    size_t scanned = 0;
    const bool ours = parse_request_head(c.head, {}, scanned, head).state == HeadState::complete;
    // A leading CRLF is RFC 9112 2.2's one kindness; Beast leaves it to its caller.
    const bool leading = c.head.starts_with("\r\n") && c.fault == HeadFault::none;
    const bool beast = beast_accepts(leading ? c.head.substr(2) : c.head);
    EXPECT_FALSE(ours && !beast) << c.description;
    if (!ours && beast) {
      ++only_ours;
      std::printf("only ours refuses: %s\n", std::string(c.description).c_str());
    }
  }
  std::printf("refused by ours alone: %d\n", only_ours);
  EXPECT_GT(only_ours, 0);
}

}  // namespace
}  // namespace tollgate::codec
