#include "userspace/daemon/webhook.h"

#include <curl/curl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace tollgate::daemon {
namespace {

constexpr int kTries = 3;
constexpr int kPauseGrowth = 5;
constexpr long kConnectTimeoutMs = 5'000;
constexpr long kTotalTimeoutMs = 10'000;
constexpr int kPollMs = 1'000;  // libcurl's own timeouts are shorter when they have to be
constexpr size_t kAnswerBytesMax = 64 * 1024;

using Easy = std::unique_ptr<CURL, decltype([](CURL* easy) { curl_easy_cleanup(easy); })>;
using HeaderList =
    std::unique_ptr<curl_slist, decltype([](curl_slist* list) { curl_slist_free_all(list); })>;

// Nobody reads the answer; it is taken so that the connection ends in order, up to a bound.
size_t discard(char*, size_t size, size_t count, void* seen) {
  auto& bytes = *static_cast<size_t*>(seen);
  bytes += size * count;
  return bytes <= kAnswerBytesMax ? size * count : 0;
}

std::string host_of(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), curl_url_cleanup);
  char* host = nullptr;
  if (curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK ||
      curl_url_get(parts.get(), CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    return "(no host)";
  }
  const std::unique_ptr<char, decltype(&curl_free)> owned(host, curl_free);
  return host;
}

// The system's certificate authorities, no redirect, no proxy of the environment: an alert goes
// where the configuration says and nowhere else.
void prepare(CURL* easy, const std::string& url, const std::string& json, curl_slist* headers,
             size_t& answer_bytes) {
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "tollgate/" TOLLGATE_VERSION);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(json.size()));
  curl_easy_setopt(easy, CURLOPT_POSTFIELDS, json.c_str());
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer_bytes);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, kTotalTimeoutMs);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);  // the next alert may be hours away
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  // A resolver that hangs is left behind; otherwise the timeout and stop() would wait for it.
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

}  // namespace

struct Webhook::Curl {
  std::unique_ptr<CURLM, decltype(&curl_multi_cleanup)> multi{nullptr, curl_multi_cleanup};
};

Result<std::unique_ptr<Webhook>> Webhook::make(const Options& options) {
  if (const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT); code != CURLE_OK) {
    return Error{Fault::system, 0, std::string("set up libcurl: ") + curl_easy_strerror(code), {}};
  }
  auto curl = std::make_unique<Curl>();
  curl->multi.reset(curl_multi_init());
  if (!curl->multi) return Error{Fault::system, 0, "make a libcurl handle: no memory", {}};
  return std::unique_ptr<Webhook>(new Webhook(options, std::move(curl)));
}

Webhook::Webhook(const Options& options, std::unique_ptr<Curl> curl)
    : options_(options), curl_(std::move(curl)) {
  thread_ = std::thread([this] { run(); });
}

Webhook::~Webhook() {
  stop();
}

void Webhook::set_url(std::string url) {
  const std::lock_guard lock(mutex_);
  url_ = std::move(url);
  if (!url_.empty()) return;
  counters_.dropped += queue_.size();
  queue_.clear();
}

bool Webhook::configured() const {
  const std::lock_guard lock(mutex_);
  return !url_.empty();
}

void Webhook::post(std::string json) {
  const std::lock_guard lock(mutex_);
  if (url_.empty() || stopping_) return;
  if (queue_.size() >= options_.queue_max) {
    ++counters_.dropped;
    if (!std::exchange(overflowing_, true)) {
      spdlog::error("alert webhook {}: {} alerts wait, more are dropped until they are sent",
                    host_of(url_), queue_.size());
    }
    return;
  }
  queue_.push_back(std::move(json));
  wake_.notify_one();
}

void Webhook::stop() {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_.exchange(true)) return;
  }
  wake_.notify_all();
  curl_multi_wakeup(curl_->multi.get());
  thread_.join();
  const size_t unsent = queue_.size() + (delivering_ ? 1 : 0);
  if (unsent > 0) spdlog::warn("alert webhook {}: {} alerts unsent", host_of(url_), unsent);
}

void Webhook::run() {
  ::pthread_setname_np(::pthread_self(), "tg-webhook");
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::string json = std::move(queue_.front());
    queue_.pop_front();
    delivering_ = true;
    deliver(json, lock);
    if (stopping_ && delivering_) return;
    overflowing_ = overflowing_ && !queue_.empty();
  }
}

// Clears delivering_ once the alert's fate is known; the lock is not held while anything waits for
// the network.
void Webhook::deliver(const std::string& json, std::unique_lock<std::mutex>& lock) {
  std::string host;
  std::string problem;
  std::chrono::milliseconds pause = options_.first_pause;
  for (int tried = 0; tried < kTries; ++tried) {
    if (tried > 0) {
      wake_.wait_for(lock, pause, [this] { return stopping_.load(); });
      pause *= kPauseGrowth;
    }
    if (stopping_) return;
    const std::string url = url_;  // each time anew: a reload may have changed it
    if (url.empty()) {
      ++counters_.dropped;
      delivering_ = false;
      return;
    }
    lock.unlock();
    host = host_of(url);
    problem = try_once(url, json);
    lock.lock();
    if (problem.empty()) {
      ++counters_.sent;
      delivering_ = false;
      return;
    }
  }
  if (stopping_) return;
  ++counters_.failed;
  delivering_ = false;
  spdlog::error("alert webhook {}: {}; gave up after {} tries", host, problem, kTries);
}

// What went wrong, empty when the other side said 2xx. Never libcurl's longer messages: they may
// quote the address.
std::string Webhook::try_once(const std::string& url, const std::string& json) {
  const HeaderList headers(curl_slist_append(nullptr, "Content-Type: application/json"));
  const Easy easy(curl_easy_init());
  if (!headers || !easy) return "no memory";
  size_t answer_bytes = 0;
  prepare(easy.get(), url, json, headers.get(), answer_bytes);
  CURLM* multi = curl_->multi.get();
  if (const CURLMcode code = curl_multi_add_handle(multi, easy.get()); code != CURLM_OK) {
    return curl_multi_strerror(code);
  }
  int running = 1;
  CURLMcode step = curl_multi_perform(multi, &running);
  while (step == CURLM_OK && running > 0 && !stopping_) {
    step = curl_multi_poll(multi, nullptr, 0, kPollMs, nullptr);
    if (step == CURLM_OK) step = curl_multi_perform(multi, &running);
  }
  std::string problem = step != CURLM_OK ? curl_multi_strerror(step) : "stopped";
  int left = 0;
  if (const CURLMsg* message = curl_multi_info_read(multi, &left); message != nullptr) {
    long status = 0;
    curl_easy_getinfo(easy.get(), CURLINFO_RESPONSE_CODE, &status);
    // With the answer's head the alert has arrived, however long the body is.
    const CURLcode code = message->data.result;
    if (code != CURLE_OK && code != CURLE_WRITE_ERROR) {
      problem = curl_easy_strerror(code);
    } else if (status < 200 || status > 299) {
      problem = "it answered " + std::to_string(status);
    } else {
      problem.clear();
    }
  }
  curl_multi_remove_handle(multi, easy.get());
  return problem;
}

}  // namespace tollgate::daemon
