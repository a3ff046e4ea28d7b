#include "userspace/ledger/writer.h"

#include <pthread.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <csignal>

#include "userspace/base/clock.h"
#include "userspace/base/fault_point.h"

namespace tollgate::ledger {
namespace {

void signal_fd(int fd) {
  const uint64_t one = 1;
  // Fails only with the counter full, and then the fd is readable anyway.
  [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
}

void clear_fd(int fd) {
  uint64_t count = 0;
  // Nothing to read is the same as cleared.
  [[maybe_unused]] const ssize_t got = ::read(fd, &count, sizeof count);
}

}  // namespace

Writer::Writer(std::unique_ptr<Store> store, std::vector<Lane*> lanes, Options options,
               Observer observer)
    : store_(std::move(store)),
      options_{std::max<size_t>(options.batch_records_max, 1), options.retry,
               options.commit_spacing, options.commit_burst},
      observer_(std::move(observer)),
      control_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Without it the thread could not be stopped; at start-up that is the end anyway.
  TG_ASSERT(control_);
  for (Lane* lane : lanes) {
    Intake intake;
    intake.lane = lane;
    intake.next_sequence = lane->durable_sequence.load(std::memory_order_acquire) + 1;
    intakes_.push_back(intake);
    polled_.push_back({lane->ring.wake_fd(), POLLIN, 0});
  }
  polled_.push_back({control_.get(), POLLIN, 0});
  batch_.reserve(options_.batch_records_max);
}

Writer::~Writer() {
  stop(std::chrono::milliseconds(0));
}

void Writer::start() {
  TG_ASSERT(!thread_.joinable());
  // Signals are the main thread's; one that is delivered here would interrupt a disk write.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_setname_np(thread_.native_handle(), "tg-ledger");
}

bool Writer::stop(std::chrono::milliseconds patience) {
  if (thread_.joinable()) {
    stop_deadline_ns_.store(monotonic_ns() + std::chrono::nanoseconds(patience).count());
    stopping_.store(true, std::memory_order_release);
    signal_fd(control_.get());
    thread_.join();
  }
  return pending() == 0;
}

std::string Writer::last_error() const {
  const std::lock_guard lock(error_mutex_);
  return last_error_;
}

// Group commit: what has gathered since the last commit is the next batch. After a quiet moment
// there is no delay; under load commits keep their distance, since each one costs the processor
// more than the records in it. The distance is kept on average: a request's hold and its settlement
// are two commits, and neither waits when there are few others.
void Writer::run() {
  for (;;) {
    // Read before the rings: whatever was pushed before stop() is seen by this turn or the next.
    const bool stopping = stopping_.load(std::memory_order_acquire);
    if (batch_.empty()) collect();
    if (batch_.empty()) {
      if (stopping) return;
      sleep();
      continue;
    }
    if (!stopping) {
      wait_for_company();
      collect();
    }
    if (commit()) {
      publish();
    } else if (stopping && out_of_patience()) {
      pending_.store(batch_.size() + count_unread());
      return;
    } else {
      wait_for_retry();
    }
  }
}

// One entry of each lane in turn, until the batch is full or all are empty: a busy worker cannot
// hold up another's responses.
void Writer::collect() {
  bool found = true;
  while (found && batch_.size() < options_.batch_records_max) {
    found = false;
    for (size_t i = 0; i < intakes_.size(); ++i) {
      if (batch_.size() == options_.batch_records_max) break;
      found = take_one(intakes_[(first_intake_ + i) % intakes_.size()]) || found;
    }
  }
  if (!intakes_.empty()) first_intake_ = (first_intake_ + 1) % intakes_.size();
  pending_.store(batch_.size());
}

// True: an entry was taken from the ring, good or bad.
bool Writer::take_one(Intake& intake) {
  auto& ring = intake.lane->ring;
  const auto entry = ring.front();
  if (entry.empty()) {
    if (ring.corrupt() && !intake.broken) {
      break_lane(intake, counters_.undecodable, "the memory of a worker's ring is corrupt");
    }
    return false;
  }
  auto record = ringbuf::decode(entry);
  ring.pop();
  if (!record) {
    break_lane(intake, counters_.undecodable, record.error().text);
    return true;
  }
  if (std::holds_alternative<ringbuf::FlowRecord>(record->body)) {
    break_lane(intake, counters_.undecodable, "a flow record came where usage is expected");
    return true;
  }
  if (record->sequence != intake.next_sequence) {
    break_lane(intake, counters_.sequence_gaps,
               "sequence " + std::to_string(record->sequence) + " came where " +
                   std::to_string(intake.next_sequence) + " is due");
  }
  intake.next_sequence = record->sequence + 1;
  if (!intake.broken) intake.taken = record->sequence;
  if (auto* usage = std::get_if<ringbuf::UsageRecord>(&record->body)) {
    batch_.emplace_back(std::move(*usage));
  } else {
    batch_.emplace_back(std::move(std::get<ringbuf::HoldRecord>(record->body)));
  }
  return true;
}

void Writer::break_lane(Intake& intake, std::atomic<uint64_t>& counter, const std::string& why) {
  counter.fetch_add(1, std::memory_order_relaxed);
  // The entry's own sequence is unknown or past; what follows it continues the count.
  ++intake.next_sequence;
  if (intake.broken) return;
  intake.broken = true;
  if (broken_lane_.empty()) {
    broken_lane_ = "read usage of worker " + std::to_string(&intake - intakes_.data()) + ": " +
                   why + "; a record is lost: restart the gateway and report this";
  }
  refresh_health();
}

void Writer::wait_for_company() {
  const int64_t spacing_ns = std::chrono::nanoseconds(options_.commit_spacing).count();
  const int64_t left_ns = next_commit_ns_ - options_.commit_burst * spacing_ns - monotonic_ns();
  if (left_ns <= 0) return;
  const timespec left{.tv_sec = left_ns / 1'000'000'000, .tv_nsec = left_ns % 1'000'000'000};
  pollfd control{control_.get(), POLLIN, 0};
  ::ppoll(&control, 1, &left, nullptr);  // only stop() ends it early; run() clears the descriptor
}

bool Writer::commit() {
  const int64_t spacing_ns = std::chrono::nanoseconds(options_.commit_spacing).count();
  next_commit_ns_ = std::max(next_commit_ns_, monotonic_ns()) + spacing_ns;
  fault_point("commit_before");
  auto status = store_->append(batch_);
  fault_point("commit_after");
  if (status) {
    if (!store_error_.empty()) {
      store_error_.clear();
      refresh_health();
    }
    return true;
  }
  counters_.store_errors.fetch_add(1, std::memory_order_relaxed);
  store_error_ = status.error().text;
  if (!status.error().hint.empty()) store_error_ += "; " + status.error().hint;
  refresh_health();
  return false;
}

// Responses wait for durable_sequence, nobody waits for the observer: it comes last.
void Writer::publish() {
  const auto is_usage = [](const Entry& entry) {
    return std::holds_alternative<ringbuf::UsageRecord>(entry);
  };
  const auto usages = std::count_if(batch_.begin(), batch_.end(), is_usage);
  counters_.committed.fetch_add(static_cast<uint64_t>(usages), std::memory_order_relaxed);
  counters_.batches.fetch_add(1, std::memory_order_relaxed);
  pending_.store(0);
  for (Intake& intake : intakes_) {
    if (intake.taken == 0) continue;
    intake.lane->durable_sequence.store(intake.taken, std::memory_order_release);
    intake.taken = 0;
    if (intake.lane->notify_fd >= 0) signal_fd(intake.lane->notify_fd);
  }
  if (observer_) {
    for (const Entry& entry : batch_) {
      if (const auto* usage = std::get_if<ringbuf::UsageRecord>(&entry)) observer_(*usage);
    }
  }
  batch_.clear();
}

void Writer::sleep() {
  bool asleep = true;
  for (Intake& intake : intakes_)
    asleep = intake.lane->ring.prepare_sleep() && asleep;
  if (asleep) {
    ::poll(polled_.data(), polled_.size(), -1);
    for (size_t i = 0; i < intakes_.size(); ++i) {
      if ((polled_[i].revents & POLLIN) != 0) clear_fd(polled_[i].fd);
    }
    if ((polled_.back().revents & POLLIN) != 0) clear_fd(control_.get());
  }
  for (Intake& intake : intakes_)
    intake.lane->ring.finish_sleep();
}

// Only stop() ends the wait early. The rings fill meanwhile, and push() says so to the workers.
void Writer::wait_for_retry() {
  int64_t wait_ms = std::max<int64_t>(options_.retry.count(), 1);
  if (stopping_.load(std::memory_order_acquire)) {
    const int64_t left_ms = (stop_deadline_ns_.load() - monotonic_ns()) / 1'000'000 + 1;
    wait_ms = std::clamp<int64_t>(left_ms, 0, wait_ms);
  }
  pollfd control{control_.get(), POLLIN, 0};
  if (::poll(&control, 1, static_cast<int>(std::min<int64_t>(wait_ms, 60'000))) > 0) {
    clear_fd(control_.get());
  }
}

bool Writer::out_of_patience() const {
  return monotonic_ns() >= stop_deadline_ns_.load();
}

// At the end only: the caller is told how many records never reached the store.
size_t Writer::count_unread() {
  size_t unread = 0;
  for (Intake& intake : intakes_) {
    while (!intake.lane->ring.front().empty()) {
      intake.lane->ring.pop();
      ++unread;
    }
  }
  return unread;
}

void Writer::refresh_health() {
  {
    const std::lock_guard lock(error_mutex_);
    last_error_ = broken_lane_.empty() ? store_error_ : broken_lane_;
    if (!broken_lane_.empty() && !store_error_.empty()) last_error_ += "; also: " + store_error_;
  }
  healthy_.store(store_error_.empty() && broken_lane_.empty(), std::memory_order_release);
}

}  // namespace tollgate::ledger
