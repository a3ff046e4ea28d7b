#include "userspace/daemon/webhook.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>

#include "tests/unit/daemon/http_server.h"

namespace tollgate::daemon {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kSecretPath = "/hooks/T0P5ECRET?token=T0P5ECRET";
constexpr const char* kSecret = "T0P5ECRET";
constexpr const char* kAlert = R"({"version":1,"alert":{"limit":"user a: $4 of $5 today"}})";

const std::string kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const std::string kBroken = "HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n";
const std::string kSilence;

class WebhookTest : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = spdlog::default_logger();
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(log_);
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", std::move(sink)));
    spdlog::set_level(spdlog::level::trace);
  }
  // Whatever a test was about, the address stays a secret.
  void TearDown() override {
    if (hook_) hook_->stop();
    spdlog::set_default_logger(before_);
    EXPECT_EQ(log_.str().find(kSecret), std::string::npos) << log_.str();
  }

  Webhook& start(const std::string& url, size_t queue_max = 256,
                 milliseconds first_pause = milliseconds(1)) {
    auto hook = Webhook::make({.queue_max = queue_max, .first_pause = first_pause});
    TG_ASSERT(hook);
    hook_ = std::move(*hook);
    hook_->set_url(url);
    return *hook_;
  }
  static void wait_for(const std::atomic<uint64_t>& counter, uint64_t value) {
    const auto deadline = steady_clock::now() + seconds(20);
    while (counter < value && steady_clock::now() < deadline)
      std::this_thread::yield();
    ASSERT_EQ(counter, value);
  }
  void expect_counters(uint64_t sent, uint64_t failed, uint64_t dropped) const {
    EXPECT_EQ(hook_->counters().sent, sent);
    EXPECT_EQ(hook_->counters().failed, failed);
    EXPECT_EQ(hook_->counters().dropped, dropped);
  }
  // After stop(), when nothing is written any more.
  size_t logged(const std::string& words) const {
    size_t count = 0;
    const std::string text = log_.str();
    for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
      ++count;
    return count;
  }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream log_;
  std::unique_ptr<Webhook> hook_;
};

TEST_F(WebhookTest, DeliversJsonAsItIs) {
  HttpServer server({kOk});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  wait_for(hook.counters().sent, 1);
  const auto requests = server.requests(1);
  ASSERT_EQ(requests.size(), 1u);
  const std::string& request = requests.front();
  EXPECT_TRUE(request.starts_with("POST " + std::string(kSecretPath) + " HTTP/1.1\r\n"));
  EXPECT_NE(request.find("\r\nContent-Type: application/json\r\n"), std::string::npos);
  EXPECT_NE(request.find("\r\nUser-Agent: tollgate/"), std::string::npos);
  EXPECT_TRUE(request.ends_with("\r\n\r\n" + std::string(kAlert))) << request;
  expect_counters(1, 0, 0);
}

TEST_F(WebhookTest, TriesAgainAfterAFailure) {
  HttpServer server({kBroken, kBroken, kOk});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  wait_for(hook.counters().sent, 1);
  EXPECT_EQ(server.requests(3).size(), 3u);
  hook.stop();
  expect_counters(1, 0, 0);
  EXPECT_EQ(logged("webhook"), 0u);
}

TEST_F(WebhookTest, GivesUpAfterThreeTriesAndGoesOnWithTheNext) {
  HttpServer server({kBroken, kBroken, kBroken, kOk});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  hook.post(kAlert);
  wait_for(hook.counters().sent, 1);
  EXPECT_EQ(server.requests(4).size(), 4u);
  hook.stop();
  expect_counters(1, 1, 0);
  EXPECT_EQ(logged("alert webhook 127.0.0.1: it answered 500; gave up after 3 tries"), 1u);
}

TEST_F(WebhookTest, DoesNotFollowARedirect) {
  HttpServer elsewhere({kOk});
  HttpServer server(
      {"HTTP/1.1 307 Moved\r\nLocation: " + elsewhere.url("/") + "\r\nContent-Length: 0\r\n\r\n"});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  wait_for(hook.counters().failed, 1);
  hook.stop();
  EXPECT_EQ(logged("it answered 307"), 1u);
  EXPECT_TRUE(elsewhere.requests(0).empty());
}

TEST_F(WebhookTest, CountsAServerThatIsNotThere) {
  std::string url;
  {
    const HttpServer server({kOk});
    url = server.url(kSecretPath);
  }
  Webhook& hook = start(url);
  hook.post(kAlert);
  wait_for(hook.counters().failed, 1);
  hook.stop();
  EXPECT_EQ(logged("alert webhook 127.0.0.1: "), 1u);
}

TEST_F(WebhookTest, SpeaksHttpOnly) {
  Webhook& hook = start("file:///T0P5ECRET");
  hook.post(kAlert);
  wait_for(hook.counters().failed, 1);
}

TEST_F(WebhookTest, ReadsAnAnswerToABoundAndHoldsItDelivered) {
  HttpServer server({"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" +
                     std::string(70 * 1024, 'x')});  // the rest would never come
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  wait_for(hook.counters().sent, 1);
  EXPECT_EQ(server.requests(1).size(), 1u);
}

TEST_F(WebhookTest, StopsAtOnceWhileTheServerIsSilent) {
  HttpServer server({kSilence});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  hook.post(kAlert);
  ASSERT_EQ(server.requests(1).size(), 1u);
  const auto begin = steady_clock::now();
  hook.stop();
  EXPECT_LT(steady_clock::now() - begin, seconds(2));  // not the 10 that a try may take
  EXPECT_EQ(logged("alert webhook 127.0.0.1: 2 alerts unsent"), 1u);
  expect_counters(0, 0, 0);
}

TEST_F(WebhookTest, StopsAtOnceBetweenTwoTries) {
  HttpServer server({kBroken});
  Webhook& hook = start(server.url(kSecretPath), 256, std::chrono::hours(1));
  hook.post(kAlert);
  ASSERT_EQ(server.requests(1).size(), 1u);
  const auto begin = steady_clock::now();
  hook.stop();
  EXPECT_LT(steady_clock::now() - begin, seconds(2));
  EXPECT_EQ(logged("1 alerts unsent"), 1u);
}

TEST_F(WebhookTest, StopsWithoutAWordWhenNothingWaits) {
  HttpServer server({kOk});
  start(server.url(kSecretPath)).stop();
  EXPECT_EQ(logged("webhook"), 0u);
}

TEST_F(WebhookTest, DropsWhatTheQueueCannotHoldAndSaysSoOnce) {
  HttpServer server({kSilence});
  Webhook& hook = start(server.url(kSecretPath), 2);
  hook.post(kAlert);
  ASSERT_EQ(server.requests(1).size(), 1u);  // on its way, no longer in the queue
  hook.post(kAlert);
  hook.post(kAlert);
  expect_counters(0, 0, 0);
  for (int i = 0; i < 3; ++i)
    hook.post(kAlert);
  expect_counters(0, 0, 3);
  hook.stop();
  EXPECT_EQ(logged("2 alerts wait, more are dropped"), 1u);
  EXPECT_EQ(logged("3 alerts unsent"), 1u);
}

TEST_F(WebhookTest, FollowsTheAddress) {
  HttpServer old_server({kOk});
  HttpServer new_server({kOk});
  Webhook& hook = start("");
  EXPECT_FALSE(hook.configured());
  hook.post(kAlert);  // nowhere: it does not wait for an address
  hook.set_url(old_server.url(kSecretPath));
  EXPECT_TRUE(hook.configured());
  hook.post(kAlert);
  wait_for(hook.counters().sent, 1);
  hook.set_url(new_server.url(kSecretPath));
  hook.post(kAlert);
  wait_for(hook.counters().sent, 2);
  EXPECT_EQ(old_server.requests(1).size(), 1u);
  EXPECT_EQ(new_server.requests(1).size(), 1u);
  hook.set_url("");
  hook.post(kAlert);
  hook.stop();
  expect_counters(2, 0, 0);
}

TEST_F(WebhookTest, DropsWhatWaitsWhenTheAddressIsTakenAway) {
  HttpServer server({kSilence});
  Webhook& hook = start(server.url(kSecretPath));
  hook.post(kAlert);
  ASSERT_EQ(server.requests(1).size(), 1u);
  hook.post(kAlert);
  hook.post(kAlert);
  hook.set_url("");
  expect_counters(0, 0, 2);
}

}  // namespace
}  // namespace tollgate::daemon
