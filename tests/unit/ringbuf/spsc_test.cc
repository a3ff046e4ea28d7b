#include "ringbuf/spsc.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cstring>
#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace tollgate::ringbuf {
namespace {

constexpr size_t kCapacity = SpscRing::kCapacityMin;
constexpr size_t kControlBytes = 4096;

std::vector<std::byte> entry_of(uint64_t n, size_t size) {
  std::vector<std::byte> entry(size, static_cast<std::byte>(n));
  std::memcpy(entry.data(), &n, std::min(size, sizeof n));
  return entry;
}

bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

bool readable(int fd, int timeout_ms = 0) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, timeout_ms) == 1;
}

void clear(int fd) {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd, &count, sizeof count);
}

SpscRing make_ring(size_t capacity = kCapacity) {
  auto ring = SpscRing::make(capacity);
  TG_ASSERT(ring);
  return std::move(*ring);
}

TEST(SpscRing, TakesOnlyPowersOfTwoFromTheMinimum) {
  for (const size_t good : {kCapacity, 2 * kCapacity})
    EXPECT_TRUE(SpscRing::make(good));
  for (const size_t bad : {size_t{0}, kCapacity / 2, kCapacity - 8, kCapacity + 8, 3 * kCapacity}) {
    EXPECT_FALSE(SpscRing::make(bad)) << bad;
  }
}

TEST(SpscRing, MemoryIsSealedAndClosedOnExec) {
  const SpscRing ring = make_ring();
  EXPECT_NE(::ftruncate(ring.memory_fd(), 0), 0);
  EXPECT_NE(::ftruncate(ring.memory_fd(), 1 << 20), 0);
  EXPECT_EQ(::fcntl(ring.memory_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_EQ(::fcntl(ring.wake_fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(SpscRing, GivesBackEntriesInOrderAtEverySizeAndOffset) {
  SpscRing ring = make_ring();
  std::mt19937_64 random(1);
  std::deque<std::vector<std::byte>> expected;
  uint64_t pushed = 0;
  for (int step = 0; step < 200'000; ++step) {
    if (random() % 2 == 0) {
      const size_t bound = random() % 50 == 0 ? ring.entry_bytes_max() : 600;
      auto entry = entry_of(pushed, 1 + random() % bound);
      if (ring.push(entry)) {
        ++pushed;
        expected.push_back(std::move(entry));
      }
    } else if (!expected.empty()) {
      ASSERT_TRUE(equal(ring.front(), expected.front()));
      ring.pop();
      expected.pop_front();
    } else {
      ASSERT_TRUE(ring.front().empty());
    }
  }
  EXPECT_FALSE(ring.corrupt());
  EXPECT_GT(pushed, 50'000u);
}

TEST(SpscRing, FullRefusesAndLosesNothing) {
  SpscRing ring = make_ring();
  uint64_t pushed = 0;
  while (ring.push(entry_of(pushed, 1000)))
    ++pushed;
  EXPECT_GE(pushed, kCapacity / 1008 - 1);
  EXPECT_FALSE(ring.push(entry_of(pushed, 1000)));
  for (uint64_t n = 0; n < pushed; ++n) {
    ASSERT_TRUE(equal(ring.front(), entry_of(n, 1000)));
    ring.pop();
  }
  EXPECT_TRUE(ring.front().empty());
  EXPECT_TRUE(ring.push(entry_of(pushed, 1000)));
}

TEST(SpscRing, AnEmptyRingTakesTheLargestEntryWhereverItStands) {
  SpscRing ring = make_ring();
  for (size_t offset = 0; offset < kCapacity; offset += 4096) {
    const auto largest = entry_of(offset, ring.entry_bytes_max());
    ASSERT_TRUE(ring.push(largest)) << offset;
    ASSERT_TRUE(equal(ring.front(), largest));
    ring.pop();
    ASSERT_TRUE(ring.push(entry_of(1, 4088)));
    ASSERT_FALSE(ring.front().empty());
    ring.pop();
  }
}

TEST(SpscRing, ProducerWritesTheEventfdOnlyForASleeper) {
  SpscRing ring = make_ring();
  ASSERT_TRUE(ring.push(entry_of(1, 8)));
  EXPECT_FALSE(readable(ring.wake_fd())) << "the consumer was awake";
  EXPECT_FALSE(ring.prepare_sleep()) << "something is there";
  ASSERT_TRUE(ring.push(entry_of(2, 8)));
  EXPECT_FALSE(readable(ring.wake_fd())) << "the sleep did not happen";
  while (!ring.front().empty())
    ring.pop();

  ASSERT_TRUE(ring.prepare_sleep());
  ASSERT_TRUE(ring.push(entry_of(3, 8)));
  EXPECT_TRUE(readable(ring.wake_fd()));
  clear(ring.wake_fd());
  ASSERT_TRUE(ring.push(entry_of(4, 8)));
  EXPECT_FALSE(readable(ring.wake_fd())) << "once is enough";
  while (!ring.front().empty())
    ring.pop();

  ASSERT_TRUE(ring.prepare_sleep());
  ring.finish_sleep();
  ASSERT_TRUE(ring.push(entry_of(5, 8)));
  EXPECT_FALSE(readable(ring.wake_fd())) << "awake for another reason";
}

// A lost wake-up shows as the poll's time-out: the consumer would sleep beside a waiting entry.
TEST(SpscRing, LosesNoEntryAndNoWakeUpBetweenThreads) {
  constexpr uint64_t kEntries = 3'000'000;
  SpscRing ring = make_ring();
  std::thread producer([&] {
    std::mt19937_64 random(2);
    std::vector<std::byte> entry(2048);
    for (uint64_t n = 1; n <= kEntries; ++n) {
      const size_t size = 9 + (random() % 64 == 0 ? random() % 2000 : random() % 40);
      std::memcpy(entry.data(), &n, sizeof n);
      entry[size - 1] = entry[0];
      while (!ring.push(std::span(entry).first(size)))
        std::this_thread::yield();
      // Pauses of all lengths let the consumer fall asleep at every point.
      if (random() % 256 == 0) std::this_thread::yield();
    }
  });
  uint64_t expected = 1;
  bool lost = false;
  while (expected <= kEntries) {
    for (auto entry = ring.front(); !entry.empty(); entry = ring.front()) {
      uint64_t n = 0;
      std::memcpy(&n, entry.data(), sizeof n);
      lost = lost || n != expected++ || entry.back() != entry[0];
      ring.pop();
    }
    if (expected > kEntries || !ring.prepare_sleep()) continue;
    const bool woken = readable(ring.wake_fd(), 20'000);
    EXPECT_TRUE(woken) << "asleep beside entry " << expected;
    ring.finish_sleep();
    clear(ring.wake_fd());
  }
  producer.join();
  EXPECT_FALSE(lost);
  EXPECT_FALSE(ring.corrupt());
}

TEST(SpscRing, AnotherProcessConsumes) {
  SpscRing ring = make_ring();
  constexpr uint64_t kEntries = 10'000;
  const pid_t child = ::fork();
  if (child == 0) {
    auto reader =
        SpscRing::attach(UniqueFd(::dup(ring.memory_fd())), UniqueFd(::dup(ring.wake_fd())));
    if (!reader) ::_exit(2);
    for (uint64_t n = 0; n < kEntries;) {
      const auto entry = reader->front();
      if (entry.empty()) {
        if (!reader->prepare_sleep()) continue;
        if (!readable(reader->wake_fd(), 20'000)) ::_exit(3);
        reader->finish_sleep();
        clear(reader->wake_fd());
        continue;
      }
      if (!equal(entry, entry_of(n, 8 + n % 300))) ::_exit(4);
      reader->pop();
      ++n;
    }
    ::_exit(0);
  }
  for (uint64_t n = 0; n < kEntries; ++n) {
    while (!ring.push(entry_of(n, 8 + n % 300)))
      std::this_thread::yield();
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(SpscRing, AttachRefusesUnsealedMemory) {
  UniqueFd memory(::memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(memory.get(), kControlBytes + kCapacity), 0);
  EXPECT_FALSE(SpscRing::attach(UniqueFd(::dup(memory.get())), UniqueFd()));
  ASSERT_EQ(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  EXPECT_TRUE(SpscRing::attach(UniqueFd(::dup(memory.get())), UniqueFd()));
}

// What a broken producer could leave in the memory: the consumer reports it and reads on nowhere.
TEST(SpscRing, CorruptMemoryIsReportedNotFollowed) {
  const struct {
    const char* what;
    off_t at;
    uint64_t value;
  } rows[] = {
      {"length 0", kControlBytes, 0},
      {"length over what was pushed", kControlBytes, 4000},
      {"length over the ring", kControlBytes, kCapacity},
      {"length that wraps when padded", kControlBytes, UINT64_MAX - 1},
      {"skip at the start", kControlBytes, UINT64_MAX},
      {"tail over the ring", 0, 2 * kCapacity},
      {"tail off the grid", 0, 17},
      {"tail far away", 0, UINT64_MAX - 7},
  };
  for (const auto& row : rows) {
    SpscRing ring = make_ring();
    ASSERT_TRUE(ring.push(entry_of(1, 64)));
    ASSERT_EQ(::pwrite(ring.memory_fd(), &row.value, sizeof row.value, row.at), 8);
    EXPECT_TRUE(ring.front().empty()) << row.what;
    EXPECT_TRUE(ring.corrupt()) << row.what;
    EXPECT_TRUE(ring.prepare_sleep()) << row.what << ": no spinning";
  }
}

TEST(SpscRing, ACorruptHeadReadsAsFull) {
  SpscRing ring = make_ring();
  while (ring.push(entry_of(1, 1000))) {
  }
  const uint64_t head = UINT64_MAX - 7;
  ASSERT_EQ(::pwrite(ring.memory_fd(), &head, sizeof head, 64), 8);
  EXPECT_FALSE(ring.push(entry_of(1, 1000)));
}

TEST(SpscRing, AnyGarbageStaysInBounds) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    SpscRing ring = make_ring();
    std::vector<uint64_t> garbage(kCapacity / 8);
    for (auto& word : garbage)
      word = random() % 4 == 0 ? UINT64_MAX : random() >> (random() % 64);
    ASSERT_EQ(::pwrite(ring.memory_fd(), garbage.data(), kCapacity, kControlBytes),
              static_cast<ssize_t>(kCapacity));
    const uint64_t tail = (random() % (kCapacity / 8)) * 8;
    ASSERT_EQ(::pwrite(ring.memory_fd(), &tail, sizeof tail, 0), 8);
    unsigned sum = 0;
    for (auto entry = ring.front(); !entry.empty(); entry = ring.front()) {
      for (const std::byte b : entry)
        sum += static_cast<unsigned>(b);
      ring.pop();
    }
    EXPECT_TRUE(ring.corrupt() || ring.prepare_sleep()) << sum;
  }
}

}  // namespace
}  // namespace tollgate::ringbuf
