#include "userspace/ctl/text.h"

#include <gtest/gtest.h>

#include "userspace/ctl/since.h"

namespace tollgate::ctl {
namespace {

TEST(Printable, LeavesTextAndDisarmsTheRest) {
  struct Case {
    const char* description;
    std::string text;
    std::string expected;
  };
  const Case cases[] = {
      {"plain", "gpt-5.5", "gpt-5.5"},
      {"letters", "J\u00f6rg \u65e5\u672c", "J\u00f6rg \u65e5\u672c"},
      {"escape", "\x1b[2J", "\\x1b[2J"},
      {"newline and return", "a\r\nb", "a\\x0d\\x0ab"},
      {"delete", "\x7f", "\\x7f"},
      {"C1 control",
       "\xc2\x9b"
       "2J",
       "\\xc2\\x9b2J"},
      {"right-to-left override", "\u202e", "\\xe2\\x80\\xae"},
      {"zero width", "\u200b", "\\xe2\\x80\\x8b"},
      {"lone byte", "a\xff", "a\\xff"},
      {"cut sequence", "\xe2\x82", "\\xe2\\x82"},
      {"overlong", "\xc0\x9b", "\\xc0\\x9b"},
  };
  for (const Case& test : cases)
    EXPECT_EQ(printable(test.text), test.expected) << test.description;
}

TEST(Numbers, ReadAsPeopleWriteThem) {
  EXPECT_EQ(thousands(0), "0");
  EXPECT_EQ(thousands(999), "999");
  EXPECT_EQ(thousands(-1'000), "-1,000");
  EXPECT_EQ(thousands(1'234'567), "1,234,567");
  EXPECT_EQ(dollars(12'400'000'000), "$12.40");
  EXPECT_EQ(dollars(1'234'500'000'000), "$1,234.50");
  EXPECT_EQ(dollars(-1'234'500'000'000), "-$1,234.50");
  EXPECT_EQ(duration_short(3'200), "3.2s");
  EXPECT_EQ(duration_short(250'000), "4m10s");
  EXPECT_EQ(bytes_short(12'345'678), "12.3 MB");
}

TEST(CsvCell, QuotesAndNeverStartsAFormula) {
  EXPECT_EQ(csv_cell("gpt-5.5"), "gpt-5.5");
  EXPECT_EQ(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
  EXPECT_EQ(csv_cell("=1+1"), "'=1+1");
}

TEST(Since, AcceptsEachFormAndRefusesItsNeighbour) {
  constexpr int64_t kNow = 1'795'233'600'000;  // 2026-11-21 04:00:00 UTC
  const std::pair<const char*, int64_t> good[] = {
      {"24h", kNow - 86'400'000},
      {"7d", kNow - 7 * 86'400'000},
      {"90s", kNow - 90'000},
      {"2026-11-20", 1'795'132'800'000},
      {"2026-11-20T10:00:00Z", 1'795'168'800'000},
      {"2026-11-20T10:00:00.5+02:00", 1'795'161'600'500},
  };
  for (const auto& [text, expected] : good) {
    const auto since = parse_since(text, kNow);
    ASSERT_TRUE(since) << text;
    EXPECT_EQ(since->unix_ms, expected) << text;
  }
  for (const char* text : {"", "h", "0h", "24", "-1h", "1.5h", "9999999h", "2026-13-01",
                           "2026-02-30", "2026-11-20T", "2026-11-20T24:00:00Z", "2026-11-20T10:00Z",
                           "2026-11-20T10:00:00", "2026-11-20T10:00:00Zx", "2026-11-22"}) {
    EXPECT_FALSE(parse_since(text, kNow)) << text;
  }
}

}  // namespace
}  // namespace tollgate::ctl
