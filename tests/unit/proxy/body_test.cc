#include "userspace/proxy/body.h"

#include <gtest/gtest.h>

#include <optional>
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

TEST(Body, RoomIsTakenOnceAndIsEnoughForTheDeclaredLength) {
  BodyMemory memory(1000);
  ASSERT_TRUE(memory.take(1000));
  {
    Body body(memory);
    ASSERT_TRUE(body.adopt(1000));
    ASSERT_TRUE(body.append(some(600), 0));
    ASSERT_TRUE(body.append(some(400), 0));
    EXPECT_EQ(memory.in_use(), 1000u);
    EXPECT_FALSE(body.append(some(1), 0));
    EXPECT_EQ(body.size(), 1000u);
  }
  EXPECT_EQ(memory.in_use(), 0u);
}

TEST(Body, OfNoLengthAdoptsNothing) {
  BodyMemory memory(0);
  Body body(memory);
  EXPECT_TRUE(body.adopt(0));
  EXPECT_EQ(body.size(), 0u);
}

TEST(Body, FieldsOfPolicyFitIntoAFullMemory) {
  BodyMemory memory(1000);
  Body body(memory);
  ASSERT_TRUE(body.append(some(1000), 1000));
  ASSERT_EQ(memory.in_use(), 1000u);
  ASSERT_TRUE(body.assign(some(1200)));
  EXPECT_EQ(body.size(), 1200u);
  EXPECT_EQ(body.bytes().data()[1200 + codec::kJsonPaddingBytes - 1], std::byte{0});
  EXPECT_FALSE(body.assign(some(3000))) << "but not just anything";
}

TEST(Body, AssignedIsOtherBytesAndShrunkIsNoMoreThanThey) {
  BodyMemory memory(1 << 20);
  Body body(memory);
  ASSERT_TRUE(body.append(some(100'000), 0));
  const std::string other = "{\"model\":\"gpt-5.5\"}";
  ASSERT_TRUE(body.assign(std::as_bytes(std::span(other))));
  EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(body.bytes().data()), body.size()),
            other);
  body.shrink();
  EXPECT_EQ(memory.in_use(), other.size());
  Body empty(memory);
  ASSERT_TRUE(empty.assign(std::as_bytes(std::span(other))));
  EXPECT_EQ(empty.size(), other.size());
}

TEST(Body, TakesAnothersPlaceAndGivesItsOwnBack) {
  BodyMemory memory(1 << 20);
  Body body(memory);
  ASSERT_TRUE(body.append(some(1000), 1000));
  Body other(memory);
  ASSERT_TRUE(other.append(some(300), 300));
  body = std::move(other);
  EXPECT_EQ(body.size(), 300u);
  EXPECT_EQ(memory.in_use(), 300u);
}

TEST(Body, MemoryRefusesMoreThanItsBoundEvenWhenEmpty) {
  BodyMemory memory(10);
  EXPECT_FALSE(memory.take(11));
  EXPECT_TRUE(memory.take(10));
  EXPECT_FALSE(memory.take(1));
}

struct Waiting {
  Waiting(BodyMemory& memory, uint64_t bytes)
      : place(std::in_place, memory, bytes, [this] { ++woken; }) {}
  bool granted() const { return place->granted(); }
  int woken = 0;
  std::optional<BodyMemory::Place> place;
};

TEST(BodyMemoryLine, GrantsAtOnceWhatFitsAndWakesNobody) {
  BodyMemory memory(100);
  const Waiting first(memory, 100);
  EXPECT_TRUE(first.granted());
  EXPECT_EQ(first.woken, 0);
  EXPECT_EQ(memory.in_use(), 100u);
  EXPECT_FALSE(memory.has_line());
}

TEST(BodyMemoryLine, ServesInTheOrderOfComing) {
  BodyMemory memory(100);
  ASSERT_TRUE(memory.take(80));
  const Waiting large(memory, 60);
  const Waiting small(memory, 10);
  EXPECT_FALSE(large.granted());
  EXPECT_FALSE(small.granted()) << "it would fit, but the large one would wait for ever";
  EXPECT_TRUE(memory.has_line());
  memory.give_back(30);
  EXPECT_FALSE(large.granted());
  memory.give_back(10);
  EXPECT_TRUE(large.granted());
  EXPECT_EQ(large.woken, 1);
  EXPECT_FALSE(small.granted()) << "nothing is left";
  memory.give_back(40);
  EXPECT_TRUE(small.granted());
  EXPECT_EQ(small.woken, 1);
  EXPECT_EQ(memory.in_use(), 70u);
}

TEST(BodyMemoryLine, WhoLeavesLetsTheNextOnes) {
  BodyMemory memory(100);
  ASSERT_TRUE(memory.take(50));
  Waiting large(memory, 60);
  const Waiting small(memory, 40);
  large.place.reset();
  EXPECT_TRUE(small.granted());
  EXPECT_EQ(large.woken, 0);
  EXPECT_EQ(memory.in_use(), 90u);
}

TEST(BodyMemoryLine, WhatWasNotClaimedGoesBackAndWhatWasDoesNot) {
  BodyMemory memory(100);
  {
    const Waiting unclaimed(memory, 60);
    const Waiting next(memory, 60);
    EXPECT_FALSE(next.granted());
  }
  EXPECT_EQ(memory.in_use(), 0u);
  {
    Waiting claimed(memory, 60);
    EXPECT_EQ(claimed.place->claim(), 60u);
  }
  EXPECT_EQ(memory.in_use(), 60u);
}

TEST(BodyMemoryLine, WhoHoldsMemoryMayTakeMorePastIt) {
  BodyMemory memory(100);
  ASSERT_TRUE(memory.take(50));
  const Waiting waiting(memory, 60);
  EXPECT_TRUE(memory.take(20));
  EXPECT_FALSE(memory.take(40));
}

}  // namespace
}  // namespace tollgate::proxy
