// What the store promises when the disk is full or the process dies. Each case runs in a child
// process, because limits, mounts and SIGKILL are a process's own.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "tests/unit/ledger/scratch_folder.h"
#include "tests/unit/ringbuf/sample.h"
#include "userspace/base/fd.h"
#include "userspace/ledger/store.h"

namespace tollgate::ledger {
namespace {

using ringbuf::sample_usage;
using ringbuf::UsageRecord;

constexpr int kNotPermitted = 77;

// The child's exit code, or -1 when it did not exit by itself. `body` returns 0 for "as promised".
template <typename Body>
int in_child(Body body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  TG_ASSERT(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int complain(const char* what, const std::string& detail = {}) {
  std::fprintf(stderr, "%s %s\n", what, detail.c_str());
  return 1;
}

std::vector<uint64_t> stored(const std::string& folder) {
  std::vector<uint64_t> serials;
  auto reader = open_sqlite_reader(folder);
  if (!reader) return serials;
  const auto status = (*reader)->records({}, [&](const UsageRecord& record) {
    serials.push_back(record.id.high - sample_usage(0).id.high);
    return true;
  });
  if (!status) serials.clear();
  return serials;
}

bool counts_to(const std::vector<uint64_t>& serials, uint64_t last) {
  for (uint64_t n = 1; n <= last; ++n) {
    if (serials.size() < n || serials[n - 1] != n) return false;
  }
  return serials.size() == last;
}

// Appends until the disk is full, checks that what was acknowledged is there and nothing else,
// makes room, and appends the very record that failed, with the same store.
template <typename MakeRoom>
int fills_and_recovers(const std::string& folder, Store& store, MakeRoom make_room) {
  uint64_t next = 1;
  Status status;
  for (; next < 100'000; ++next) {
    const Entry record = sample_usage(next);
    status = store.append({&record, 1});
    if (!status) break;
  }
  if (status) return complain("the disk never filled up");
  const Error error = status.error();
  if (error.hint.find("free space") == error.hint.npos) return complain("no hint", error.text);
  if (error.text.find(folder) == error.text.npos) return complain("no path in", error.text);
  const Entry record = sample_usage(next);
  if (store.append({&record, 1})) return complain("appended to a full disk");
  make_room();
  if (!counts_to(stored(folder), next - 1)) return complain("lost or kept too much");
  status = store.append({&record, 1});
  if (!status) return complain("did not recover:", status.error().text);
  if (!counts_to(stored(folder), next)) return complain("lost or doubled after recovery");
  return 0;
}

TEST(StoreFaults, AFileSizeLimitIsAFullDiskAndPasses) {
  const ScratchFolder folder;
  EXPECT_EQ(in_child([&] {
              std::signal(SIGXFSZ, SIG_IGN);
              auto store = open_sqlite_store(folder.path());
              if (!store) return complain("open", store.error().text);
              rlimit limit{};
              ::getrlimit(RLIMIT_FSIZE, &limit);
              const rlim_t before = limit.rlim_cur;
              limit.rlim_cur = 1 << 20;
              ::setrlimit(RLIMIT_FSIZE, &limit);
              return fills_and_recovers(folder.path(), **store, [&] {
                limit.rlim_cur = before;
                ::setrlimit(RLIMIT_FSIZE, &limit);
              });
            }),
            0);
}

TEST(StoreFaults, AFullFileSystemIsReportedAndPasses) {
  const ScratchFolder folder;
  const int code = in_child([&] {
    const int namespaces = CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER);
    if (::unshare(namespaces) != 0 ||
        ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=2m") != 0) {
      return kNotPermitted;
    }
    const std::string ballast = folder.path() + "/ballast";
    const UniqueFd filler(::open(ballast.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    const std::string megabyte(1 << 20, 'x');
    if (::write(filler.get(), megabyte.data(), megabyte.size()) != 1 << 20) return complain("fill");
    auto store = open_sqlite_store(folder.path());
    if (!store) return complain("open", store.error().text);
    return fills_and_recovers(folder.path(), **store, [&] {
      [[maybe_unused]] const int truncated = ::ftruncate(filler.get(), 0);
    });
  });
  if (code == kNotPermitted) GTEST_SKIP() << "SKIP: no mount namespace of our own here";
  EXPECT_EQ(code, 0);
}

// Runs `body(acknowledge)` in a child and kills it once it has acknowledged `kill_after`; what it
// acknowledged last. The child dies at an arbitrary place of what it does next.
template <typename Body>
uint64_t acknowledged_before_kill(uint64_t kill_after, Body body) {
  int ends[2] = {};
  TG_ASSERT(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    body([&](uint64_t n) { return ::write(out.get(), &n, sizeof n) == sizeof n; });
    ::_exit(1);
  }
  out.reset();
  uint64_t acknowledged = 0;
  while (acknowledged < kill_after)
    TG_ASSERT(::read(in.get(), &acknowledged, sizeof acknowledged) == 8);
  TG_ASSERT(::kill(child, SIGKILL) == 0);
  uint64_t late = 0;
  while (::read(in.get(), &late, sizeof late) == 8)
    acknowledged = late;
  int status = 0;
  TG_ASSERT(::waitpid(child, &status, 0) == child && WIFSIGNALED(status));
  return acknowledged;
}

TEST(StoreFaults, AKilledProcessLosesNothingItAcknowledged) {
  for (const uint64_t kill_after : {1u, 2u, 50u, 333u}) {
    const ScratchFolder folder;
    const uint64_t acknowledged = acknowledged_before_kill(kill_after, [&](auto acknowledge) {
      auto store = open_sqlite_store(folder.path());
      for (uint64_t n = 1; store; ++n) {
        const Entry record = sample_usage(n);
        if (!(*store)->append({&record, 1}) || !acknowledge(n)) return;
      }
    });
    auto store = open_sqlite_store(folder.path());
    ASSERT_TRUE(store) << store.error().text;
    const auto serials = stored(folder.path());
    // The one in flight may have become durable before it could be acknowledged.
    EXPECT_TRUE(counts_to(serials, acknowledged) || counts_to(serials, acknowledged + 1))
        << acknowledged << " acknowledged, " << serials.size() << " stored";
    const Entry again = sample_usage(acknowledged + 1);
    ASSERT_TRUE((*store)->append({&again, 1}));
    EXPECT_TRUE(counts_to(stored(folder.path()), acknowledged + 1)) << "settled again at start";
  }
}

// The same with a hold before each record: the nth acknowledgement is a hold's when n is odd.
TEST(StoreFaults, AKilledProcessLeavesTheHoldsOfWhatWasNotSettled) {
  for (const uint64_t kill_after : {1u, 2u, 51u, 332u}) {
    const ScratchFolder folder;
    const uint64_t acknowledged = acknowledged_before_kill(kill_after, [&](auto acknowledge) {
      auto store = open_sqlite_store(folder.path());
      for (uint64_t n = 1; store; ++n) {
        const uint64_t request = (n + 1) / 2;
        Entry entry = sample_usage(request);
        if (n % 2 == 1) entry = ringbuf::sample_hold(request);
        if (!(*store)->append({&entry, 1}) || !acknowledge(n)) return;
      }
    });
    auto store = open_sqlite_store(folder.path());
    ASSERT_TRUE(store) << store.error().text;
    const uint64_t settled = stored(folder.path()).size();
    EXPECT_TRUE(counts_to(stored(folder.path()), settled));
    const auto holds = (*store)->open_holds();
    ASSERT_TRUE(holds) << holds.error().text;
    const uint64_t durable = 2 * settled + holds->size();
    EXPECT_TRUE(durable == acknowledged || durable == acknowledged + 1)
        << acknowledged << " acknowledged, " << durable << " there";
    ASSERT_LE(holds->size(), 1u);
    if (!holds->empty()) {
      EXPECT_EQ(holds->front(), ringbuf::sample_hold(settled + 1));
    }
  }
}

}  // namespace
}  // namespace tollgate::ledger
