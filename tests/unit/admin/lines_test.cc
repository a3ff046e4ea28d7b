#include "userspace/admin/lines.h"

#include <gtest/gtest.h>

#include <vector>

namespace tollgate::admin {
namespace {

std::vector<std::string> drain(LineBuffer& lines) {
  std::vector<std::string> taken;
  while (auto line = lines.next())
    taken.push_back(*line);
  return taken;
}

std::vector<std::string> feed(std::string_view bytes, size_t split, LineBuffer& lines) {
  std::vector<std::string> taken;
  for (const std::string_view part : {bytes.substr(0, split), bytes.substr(split)}) {
    lines.append(part);
    for (auto& line : drain(lines))
      taken.push_back(std::move(line));
  }
  return taken;
}

TEST(LineBuffer, EverySplitGivesTheSameLines) {
  const std::string_view bytes = "one\n\nthree\nrest";
  for (size_t split = 0; split <= bytes.size(); ++split) {
    LineBuffer lines(5);
    EXPECT_EQ(feed(bytes, split, lines), (std::vector<std::string>{"one", "", "three"})) << split;
    EXPECT_FALSE(lines.empty());
    EXPECT_FALSE(lines.overflowed());
  }
}

TEST(LineBuffer, LineOverTheBoundEndsItAtEverySplit) {
  const std::string_view bytes = "12345\n123456\n1\n";
  for (size_t split = 0; split <= bytes.size(); ++split) {
    LineBuffer lines(5);
    EXPECT_EQ(feed(bytes, split, lines), std::vector<std::string>{"12345"}) << split;
    EXPECT_TRUE(lines.overflowed());
  }
}

TEST(LineBuffer, UnfinishedLineOverTheBoundIsSeenBeforeItsNewline) {
  LineBuffer lines(5);
  for (int i = 0; i < 5; ++i) {
    lines.append("x");
    EXPECT_FALSE(lines.next() || lines.overflowed());
  }
  lines.append("x");
  EXPECT_FALSE(lines.next());
  EXPECT_TRUE(lines.overflowed());
}

}  // namespace
}  // namespace tollgate::admin
