#include "userspace/proxy/body.h"

#include <gtest/gtest.h>

#include <vector>

#include "userspace/codec/responses.h"

namespace tollgate::proxy {
namespace {

std::vector<std::byte> some(size_t count) {
  return std::vector<std::byte>(count, std::byte{'x'});
}

TEST(Body, GrowsWithWhatArrivesNotWithWhatIsDeclared) {
  BodyMemory memory(uint64_t{1} << 30);
  Body body(memory);
  ASSERT_TRUE(body.append(some(10), 500'000'000));
  EXPECT_LT(memory.in_use(), 64u * 1024);
  EXPECT_EQ(body.size(), 10u);
}

TEST(Body, IsFollowedByZeroedPadding) {
  BodyMemory memory(1 << 20);
  Body body(memory);
  ASSERT_TRUE(body.append(some(100), 0));
  for (size_t i = 0; i < codec::kJsonPaddingBytes; ++i) {
    EXPECT_EQ(body.bytes().data()[100 + i], std::byte{0});
  }
}

TEST(Body, TheBoundIsSharedAndGivenBack) {
  BodyMemory memory(100 * 1024);
  Body first(memory);
  Body second(memory);
  ASSERT_TRUE(first.append(some(60 * 1024), 0));
  EXPECT_FALSE(second.append(some(60 * 1024), 0));
  EXPECT_EQ(second.size(), 0u);
  first.release();
  EXPECT_EQ(memory.in_use(), 0u);
  EXPECT_TRUE(second.append(some(60 * 1024), 0));
}

TEST(Body, MovedIsCountedOnceAndGivenBackByItsLastOwner) {
  BodyMemory memory(1 << 20);
  {
    Body first(memory);
    ASSERT_TRUE(first.append(some(100), 0));
    const uint64_t taken = memory.in_use();
    const Body second(std::move(first));
    EXPECT_EQ(second.size(), 100u);
    EXPECT_EQ(first.size(), 0u);  // NOLINT(bugprone-use-after-move): what is left is stated
    EXPECT_EQ(memory.in_use(), taken);
  }
  EXPECT_EQ(memory.in_use(), 0u);
}

TEST(Body, KeepsItsBytesWhileItGrows) {
  BodyMemory memory(uint64_t{1} << 30);
  Body body(memory);
  std::string expected;
  for (int i = 0; i < 5000; ++i) {
    const std::string piece = std::to_string(i) + ",";
    ASSERT_TRUE(body.append(std::as_bytes(std::span(piece)), 0));
    expected += piece;
  }
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(body.bytes().data()), body.size()),
            expected);
}

TEST(Body, MemoryRefusesMoreThanItsBoundEvenWhenEmpty) {
  BodyMemory memory(10);
  EXPECT_FALSE(memory.take(11));
  EXPECT_TRUE(memory.take(10));
  EXPECT_FALSE(memory.take(1));
}

}  // namespace
}  // namespace tollgate::proxy
