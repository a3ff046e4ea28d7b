#include "userspace/proxy/budget_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "tests/unit/policy/budget_for_tests.h"

namespace tollgate::proxy {
namespace {

using policy::Budgets;
using policy::Charge;
using policy::LimitScope;
using policy::LimitUnit;

constexpr uint64_t kThreads = 8;
constexpr uint64_t kOperations = 2'000;  // of each thread
constexpr int64_t kUserCap = 10'000;
constexpr int64_t kGroupCap = 15'000;
constexpr int64_t kNothingFalls = 31 * policy::kDayMs;

policy::Policy::Parts shared_limits() {
  return policy::parts_of({policy::rule_of(
      "p", {policy::within(policy::limit_of(LimitUnit::usd, kUserCap), kNothingFalls),
            policy::within(policy::limit_of(LimitUnit::tokens, kGroupCap, LimitScope::group),
                           kNothingFalls)})});
}

struct Running {
  RequestId id;
  Charge charge;
};

// What one worker does: begins requests of either user and ends them at random, often for less than
// was held, sometimes for nothing.
class Worker {
 public:
  Worker(BudgetTable& table, const policy::Policy& policy, uint64_t number)
      : table_(table), policy_(policy), number_(number), random_(number) {}

  void run() {
    for (uint64_t i = 0; i < kOperations; ++i) {
      if (!running_.empty() && random_() % 2 == 0) {
        settle_one();
      } else {
        reserve_one({number_, i + 1});
      }
    }
    while (!running_.empty())
      settle_one();
  }
  Charge settled() const { return settled_; }
  uint64_t above_a_cap() const { return above_a_cap_; }
  uint64_t unheld() const { return unheld_; }

 private:
  void reserve_one(RequestId id) {
    const policy::Peer peer = policy_.peer_of(random_() % 2 == 0 ? "alice" : "bob");
    const Charge charge{{static_cast<int64_t>(random_() % 900 + 1)}, random_() % 900 + 1};
    const bool granted = table_.with([&](Budgets& budgets) {
      const policy::BudgetTime now = table_.now();
      const auto outcome = budgets.reserve({id, policy_, peer, "gpt-a", charge, true, now});
      for (const Budgets::State& state : budgets.states(policy_, "", now)) {
        above_a_cap_ += state.used + state.held > state.limit->amount ? 1u : 0u;
      }
      return std::holds_alternative<Budgets::Granted>(outcome);
    });
    if (granted) running_.push_back({id, charge});
  }

  void settle_one() {
    std::swap(running_[random_() % running_.size()], running_.back());
    const Running request = running_.back();
    running_.pop_back();
    Charge charge;
    if (random_() % 8 != 0) {
      charge.cost.value = static_cast<int64_t>(
          random_() % static_cast<uint64_t>(request.charge.cost.value + 1) / 20);
      charge.tokens = random_() % (request.charge.tokens + 1) / 20 + 1;
    }
    const bool held = table_.with([&](Budgets& budgets) {
      return budgets.settle({request.id, charge, table_.now()});
    });
    unheld_ += held ? 0u : 1u;
    settled_.cost += charge.cost;
    settled_.tokens += charge.tokens;
  }

  BudgetTable& table_;
  const policy::Policy& policy_;
  const uint64_t number_;
  std::mt19937_64 random_;
  std::vector<Running> running_;
  Charge settled_;
  uint64_t above_a_cap_ = 0;
  uint64_t unheld_ = 0;
};

TEST(BudgetTable, ManyWorkersNeverExceedACapAndLeaveNoHold) {
  const policy::Policy policy(shared_limits());
  BudgetTable table(policy::utc_day, WindowClock(0, 0));
  table.with([&](Budgets& budgets) {
    budgets.follow(policy);
    budgets.end_filling();
    return 0;
  });
  std::vector<Worker> workers;
  for (uint64_t i = 1; i <= kThreads; ++i)
    workers.emplace_back(table, policy, i);
  std::vector<std::thread> threads;
  for (Worker& worker : workers)
    threads.emplace_back([&worker] { worker.run(); });
  for (std::thread& thread : threads)
    thread.join();

  Charge settled;
  for (const Worker& worker : workers) {
    EXPECT_EQ(worker.above_a_cap(), 0u);
    EXPECT_EQ(worker.unheld(), 0u);
    settled.cost += worker.settled().cost;
    settled.tokens += worker.settled().tokens;
  }
  table.with([&](Budgets& budgets) {
    int64_t cost = 0;
    int64_t tokens = 0;
    for (const Budgets::State& state : budgets.states(policy, "", table.now())) {
      EXPECT_EQ(state.held, 0);
      (state.limit->unit == LimitUnit::usd ? cost : tokens) += state.used;
    }
    EXPECT_EQ(cost, settled.cost.value);
    EXPECT_EQ(tokens, static_cast<int64_t>(settled.tokens));
    EXPECT_GT(tokens, kGroupCap / 2) << "the limits were tried";
    EXPECT_EQ(budgets.holds_open(), 0u);
    EXPECT_EQ(budgets.settled_unheld(), 0u);
    EXPECT_EQ(budgets.holds_exceeded(), 0u);
    return 0;
  });
}

}  // namespace
}  // namespace tollgate::proxy
