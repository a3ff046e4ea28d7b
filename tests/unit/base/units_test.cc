#include "userspace/base/units.h"

#include <gtest/gtest.h>

#include <limits>

namespace tollgate {
namespace {

TEST(ParseUsd, ReadsPlainDecimalsExactly) {
  const std::pair<const char*, int64_t> rows[] = {
      {"0", 0},           {"3", 3'000'000'000}, {"12.40", 12'400'000'000},
      {"0.000000001", 1}, {"-0.000000001", -1}, {"999999999.999999999", 999'999'999'999'999'999},
  };
  for (const auto& [text, nano] : rows) {
    const auto amount = parse_usd(text);
    ASSERT_TRUE(amount) << text;
    EXPECT_EQ(amount->value, nano) << text;
  }
}

TEST(ParseUsd, RefusesWhatIsNotAPlainDecimal) {
  for (const char* text : {"", "-", ".5", "5.", "+1", "1e3", "1,5", "$5", " 5", "5 ", "--1", "1.-5",
                           "0.0000000001", "1000000000", "nan", "0x10", "1.2.3"}) {
    const auto amount = parse_usd(text);
    ASSERT_FALSE(amount) << text;
    EXPECT_EQ(amount.error().fault, Fault::config) << text;
    EXPECT_FALSE(amount.error().hint.empty()) << text;
  }
}

TEST(FormatUsd, ExactFormReadsBackAsTheSameAmount) {
  for (const int64_t nano : {int64_t{0}, int64_t{1}, int64_t{-1}, int64_t{12'500},
                             int64_t{12'400'000'000}, int64_t{-987'654'321'012'345'678}}) {
    const auto back = parse_usd(format_usd_exact({nano}));
    ASSERT_TRUE(back) << nano;
    EXPECT_EQ(back->value, nano);
  }
  EXPECT_EQ(format_usd_exact({12'400'000'000}), "12.40");
  EXPECT_EQ(format_usd_exact({12'500}), "0.0000125");
  EXPECT_EQ(format_usd_exact({std::numeric_limits<int64_t>::min()}), "-9223372036.854775808");
}

TEST(FormatUsd, ShortFormKeepsFourDigitsBelowACent) {
  EXPECT_EQ(format_usd_short({0}), "$0.00");
  EXPECT_EQ(format_usd_short({12'400'000'000}), "$12.40");
  EXPECT_EQ(format_usd_short({1'234'000}), "$0.001234");
  EXPECT_EQ(format_usd_short({-12'400'000'000}), "-$12.40");
  EXPECT_EQ(format_usd_short({999'990'000'000}), "$999.99");
  EXPECT_EQ(format_usd_short({-1'234'567'800'000'000}), "-$1,234,567.80");
}

}  // namespace
}  // namespace tollgate
