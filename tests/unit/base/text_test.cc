#include "userspace/base/text.h"

#include <gtest/gtest.h>

#include <vector>

namespace tollgate {
namespace {

TEST(Base64, WritesEveryLengthAndKnowsItsOwn) {
  const struct {
    std::vector<uint8_t> bytes;
    const char* text;
  } rows[] = {{{}, ""},
              {{'f'}, "Zg=="},
              {{'f', 'o'}, "Zm8="},
              {{'f', 'o', 'o'}, "Zm9v"},
              {{0xfb, 0xff, 0xfe, 0xff}, "+//+/w=="}};
  for (const auto& [bytes, text] : rows) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_TRUE(is_base64(text, bytes.size())) << text;
  }
}

TEST(Base64, IsNoOtherTextForTheSameBytes) {
  EXPECT_FALSE(is_base64("Zh==", 1)) << "bits behind the byte";
  EXPECT_FALSE(is_base64("Zm9=", 2)) << "bits behind the bytes";
  EXPECT_FALSE(is_base64("Zg", 1)) << "no padding";
  EXPECT_FALSE(is_base64("Zg=A", 1)) << "padding within";
  EXPECT_FALSE(is_base64("Zm8=", 1)) << "another length";
  EXPECT_FALSE(is_base64("Zm9 ", 3)) << "a blank";
  EXPECT_FALSE(is_base64("====", 1)) << "nothing";
}

}  // namespace
}  // namespace tollgate
