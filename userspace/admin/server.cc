#include "userspace/admin/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>

#include "userspace/admin/audit.h"
#include "userspace/admin/client.h"
#include "userspace/admin/protocol.h"
#include "userspace/admin/role.h"
#include "userspace/admin/socket_file.h"

namespace tollgate::admin {
namespace {

using Mode = Client::Mode;

void add(ledger::UsageRow& total, const ledger::UsageRow& row) {
  total.requests += row.requests;
  total.refused += row.refused;
  total.estimated += row.estimated;
  total.input_tokens += row.input_tokens;
  total.cached_tokens += row.cached_tokens;
  total.output_tokens += row.output_tokens;
  total.reasoning_tokens += row.reasoning_tokens;
  total.cost += row.cost;
}

Failure failure_of(const Error& error) {
  return {ErrorCode::failed, error.text, error.hint};
}

ledger::UsageQuery query_of(const Request& request) {
  return {request.since_unix_ms, request.until_unix_ms, request.user, request.model,
          request.outcome};
}

class SocketServer final : public Server {
 public:
  SocketServer(Options options, Service& service, SocketFile socket, UniqueFd wake,
               RoleGroups groups)
      : options_(std::move(options)),
        service_(service),
        socket_(std::move(socket)),
        wake_(std::move(wake)),
        groups_(groups) {}
  ~SocketServer() override;

  std::vector<Interest> interests() const override;
  void step() override;
  void publish(const ringbuf::UsageRecord& record) override;
  int publish_fd() const override { return wake_.get(); }
  const SocketFile& socket() const override { return socket_; }
  void hand_over() override;
  Counters counters() const override;

 private:
  void end_tails(const char* reason);
  void deliver_published();
  void serve(Client& client, short events);
  void accept_new();
  void admit(UniqueFd socket);
  bool make_room();
  void drop_gone();

  void handle(Client& client, const std::string& line);
  void answer(Client& client, const Request& request);
  void answer(Client& client, const Result<nlohmann::json>& data);
  void refuse(Client& client, const Failure& failure);
  Result<nlohmann::json> usage(const Request& request);
  Result<nlohmann::json> grant(const Request& request, uint32_t uid);
  Result<nlohmann::json> reset(const Request& request, uint32_t uid);
  Result<nlohmann::json> revoke(const Request& request, uint32_t uid);
  Result<nlohmann::json> restore(const Request& request, uint32_t uid);
  Result<nlohmann::json> audited(Result<nlohmann::json> done, uint32_t uid, std::string what);
  void next_page(Client& client);
  void start_tail(Client& client);
  size_t tails() const;

  Options options_;
  Service& service_;
  SocketFile socket_;
  UniqueFd wake_;
  RoleGroups groups_;
  std::vector<std::unique_ptr<Client>> clients_;
  Counters counters_;
  bool handed_over_ = false;
  int64_t now_ms_ = 0;  // of this step

  std::atomic<bool> has_tails_{false};
  std::mutex published_mutex_;
  std::vector<ringbuf::UsageRecord> published_;  // guarded by published_mutex_
  uint64_t published_lost_ = 0;                  // guarded by published_mutex_
};

SocketServer::~SocketServer() {
  end_tails("the daemon stops");
  for (const auto& client : clients_)
    client->flush(0);
}

// Whoever is connected already may still ask, as he could not know.
void SocketServer::hand_over() {
  handed_over_ = true;
  end_tails("another daemon has taken over");
  socket_.let_go();
}

void SocketServer::end_tails(const char* reason) {
  deliver_published();
  for (const auto& client : clients_) {
    if (client->mode != Mode::tail) continue;
    client->queue(ok_line(client->request_id, {{"reason", reason}}));
    client->mode = Mode::closing;
    client->flush(0);
  }
}

std::vector<Server::Interest> SocketServer::interests() const {
  std::vector<Interest> interests = {{wake_.get(), POLLIN}};
  if (socket_.fd() >= 0) interests.push_back({socket_.fd(), POLLIN});
  for (const auto& client : clients_)
    interests.push_back({client->fd(), client->events()});
  return interests;
}

void SocketServer::step() {
  now_ms_ = options_.now_ms();
  deliver_published();
  std::vector<pollfd> ready;
  for (const auto& client : clients_)
    ready.push_back({client->fd(), client->events(), 0});
  if (!ready.empty() && ::poll(ready.data(), ready.size(), 0) > 0) {
    for (size_t i = 0; i < ready.size(); ++i) {
      if (ready[i].revents != 0) serve(*clients_[i], ready[i].revents);
    }
  }
  for (const auto& client : clients_) {
    // A tail has its own bound, in bytes: a quiet one may rest for hours.
    if (client->mode == Mode::tail || client->idle()) continue;
    if (now_ms_ - client->progress_ms() < kStalledMs) continue;
    client->mode = Mode::gone;
    ++counters_.cut;
  }
  drop_gone();
  accept_new();
}

void SocketServer::publish(const ringbuf::UsageRecord& record) {
  if (!has_tails_.load(std::memory_order_acquire)) return;
  {
    const std::lock_guard lock(published_mutex_);
    if (published_.size() < kPublishedMax) {
      published_.push_back(record);
    } else {
      ++published_lost_;
    }
  }
  // An eventfd that counts to its end is readable all the same.
  eventfd_write(wake_.get(), 1);
}

Server::Counters SocketServer::counters() const {
  Counters now = counters_;
  now.clients = clients_.size();
  now.tails = tails();
  return now;
}

void SocketServer::deliver_published() {
  eventfd_t ignored = 0;
  eventfd_read(wake_.get(), &ignored);
  std::vector<ringbuf::UsageRecord> records;
  uint64_t lost = 0;
  {
    const std::lock_guard lock(published_mutex_);
    records.swap(published_);
    std::swap(lost, published_lost_);
  }
  counters_.records_lost += lost;
  for (const auto& client : clients_) {
    if (client->mode != Mode::tail) continue;
    for (const ringbuf::UsageRecord& record : records) {
      client->queue(item_line(client->request_id, to_json(record)));
      if (client->queued_bytes() > kTailQueueBytesMax) client->flush(now_ms_);
      if (client->queued_bytes() <= kTailQueueBytesMax) continue;
      client->mode = Mode::gone;
      ++counters_.cut;
      break;
    }
    if (lost > 0 && client->mode == Mode::tail) client->queue(lost_line(client->request_id, lost));
    client->flush(now_ms_);
  }
}

// One request or one page a step and client, so that none holds up the control thread's other work.
void SocketServer::serve(Client& client, short events) {
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) client.receive(now_ms_);
  if (client.mode == Mode::gone) return;
  client.flush(now_ms_);
  if (client.mode == Mode::records && client.queued_bytes() == 0) {
    next_page(client);
  } else if (const std::optional<std::string> line = client.next_request()) {
    client.request_id.reset();
    handle(client, *line);
  } else if (client.request_too_long() && client.mode == Mode::requests) {
    client.request_id.reset();
    refuse(client, {ErrorCode::bad_request, "request is over 65536 bytes", {}});
    client.mode = Mode::closing;
  }
  if (client.mode != Mode::gone) client.flush(now_ms_);
  // Both directions are closed: nobody is left to read an answer.
  if ((events & (POLLHUP | POLLERR)) != 0) client.mode = Mode::gone;
}

void SocketServer::accept_new() {
  if (socket_.fd() < 0) return;
  // Bounded for one step; whoever is left makes the listener readable again.
  for (size_t i = 0; i < kClientsMax; ++i) {
    UniqueFd socket(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return;
    admit(std::move(socket));
  }
}

void SocketServer::admit(UniqueFd socket) {
  const auto turn_away = [&socket](const Failure& failure) {
    const std::string line = error_line(std::nullopt, failure);
    // Into an empty socket buffer: it fits, or the caller is gone already.
    (void)!::send(socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  };
  auto caller = caller_of(socket.get(), groups_);
  if (!caller) return turn_away(failure_of(caller.error()));
  if (caller->role == Role::none) {
    ++counters_.forbidden;
    return turn_away({ErrorCode::forbidden,
                      "uid " + std::to_string(caller->uid) + " may not use the admin socket",
                      "run as root, or join group " + options_.viewer_group + " (reads) or " +
                          options_.admin_group + " (changes) and log in again"});
  }
  if (clients_.size() >= kClientsMax && !make_room()) {
    ++counters_.full;
    return turn_away({ErrorCode::failed,
                      std::to_string(kClientsMax) + " callers are connected already",
                      "end some of them"});
  }
  ++counters_.accepted;
  clients_.push_back(std::make_unique<Client>(std::move(socket), *caller, now_ms_));
}

// Who has asked nothing for longest makes way for who comes with a question.
bool SocketServer::make_room() {
  Client* longest = nullptr;
  for (const auto& client : clients_) {
    if (!client->idle()) continue;
    if (longest == nullptr || client->progress_ms() < longest->progress_ms()) longest = &*client;
  }
  if (longest == nullptr) return false;
  longest->mode = Mode::gone;
  drop_gone();
  return true;
}

void SocketServer::drop_gone() {
  std::erase_if(clients_, [](const auto& client) { return client->mode == Mode::gone; });
  has_tails_.store(tails() > 0, std::memory_order_release);
}

void SocketServer::handle(Client& client, const std::string& line) {
  ParsedRequest parsed = parse_request(line);
  client.request_id = parsed.id;
  if (const Failure* failure = std::get_if<Failure>(&parsed.outcome)) {
    ++counters_.bad_requests;
    return refuse(client, *failure);
  }
  const Request& request = std::get<Request>(parsed.outcome);
  if (changes(request.verb) && client.caller().role != Role::admin) {
    ++counters_.forbidden;
    return refuse(client, {ErrorCode::forbidden,
                           "uid " + std::to_string(client.caller().uid) + " may read, not " +
                               std::string(to_string(request.verb)),
                           "run as root, or join group " + options_.admin_group});
  }
  if (handed_over_ && (changes(request.verb) || request.verb == Verb::tail)) {
    return refuse(client, {ErrorCode::failed, "another daemon has just taken over", "try again"});
  }
  answer(client, request);
}

void SocketServer::answer(Client& client, const Request& request) {
  switch (request.verb) {
    case Verb::status:
      return answer(client, service_.status());
    case Verb::peers:
      return answer(client, service_.peers());
    case Verb::sessions:
      return answer(client, service_.sessions());
    case Verb::usage:
      return answer(client, usage(request));
    case Verb::records:
      client.mode = Mode::records;
      client.cursor = {query_of(request), {}, 0};
      return next_page(client);
    case Verb::tail:
      return start_tail(client);
    case Verb::explain:
      return answer(client, service_.explain(request.user, request.model, request.body_bytes));
    case Verb::limits:
      return answer(client, service_.limits(request.user));
    case Verb::adjustments:
      return answer(client, service_.adjustments());
    case Verb::unmetered:
      return answer(client, service_.unmetered());
    case Verb::acknowledge:
      return answer(client, audited(service_.acknowledge(), client.caller().uid,
                                    "acknowledge unmetered traffic"));
    case Verb::grant:
      return answer(client, grant(request, client.caller().uid));
    case Verb::reset:
      return answer(client, reset(request, client.caller().uid));
    case Verb::revoke:
      return answer(client, revoke(request, client.caller().uid));
    case Verb::restore:
      return answer(client, restore(request, client.caller().uid));
    case Verb::reload:
      return answer(client, audited(service_.reload(), client.caller().uid, "reload"));
    case Verb::version:
      return answer(client,
                    nlohmann::json{{"version", TOLLGATE_VERSION}, {"protocol", kProtocolVersion}});
  }
}

void SocketServer::answer(Client& client, const Result<nlohmann::json>& data) {
  if (!data) return refuse(client, failure_of(data.error()));
  const std::string line = ok_line(client.request_id, *data);
  if (line.size() <= kAnswerBytesMax) return client.queue(line);
  refuse(client, {ErrorCode::failed,
                  "the answer has " + std::to_string(line.size()) + " bytes, " +
                      std::to_string(kAnswerBytesMax) + " are allowed",
                  "ask about a shorter time, or for records, which are streamed"});
}

void SocketServer::refuse(Client& client, const Failure& failure) {
  client.queue(error_line(client.request_id, failure));
}

Result<nlohmann::json> SocketServer::usage(const Request& request) {
  const auto by = static_cast<ledger::GroupBy>(request.by);
  const ledger::UsageQuery query = query_of(request);
  const auto rows = service_.usage(by, query);
  if (!rows) return rows.error();
  nlohmann::json written = nlohmann::json::array();
  ledger::UsageRow total;
  for (const ledger::UsageRow& row : *rows) {
    written.push_back(to_json(row, by));
    add(total, row);
  }
  if (by == ledger::GroupBy::group) {
    // A user of two groups is in both rows; what was spent is what its users spent.
    const auto users = service_.usage(ledger::GroupBy::user, query);
    if (!users) return users.error();
    total = {};
    for (const ledger::UsageRow& row : *users)
      add(total, row);
  }
  nlohmann::json sum = to_json(total, by);
  sum.erase(std::string(kUsageKeys[request.by]));
  return nlohmann::json{{"by", kUsageKeys[request.by]},
                        {"since_unix_ms", request.since_unix_ms},
                        {"rows", std::move(written)},
                        {"total", std::move(sum)}};
}

Result<nlohmann::json> SocketServer::grant(const Request& request, uint32_t uid) {
  const GrantRequest grant{request.scope,  request.subject, request.unit,
                           request.amount, request.for_s,   request.reason};
  return audited(service_.grant(grant, uid), uid, audit_text(grant));
}

Result<nlohmann::json> SocketServer::reset(const Request& request, uint32_t uid) {
  const ResetRequest reset{request.scope, request.subject, request.reason};
  return audited(service_.reset(reset, uid), uid, audit_text(reset));
}

Result<nlohmann::json> SocketServer::revoke(const Request& request, uint32_t uid) {
  const RevokeRequest revoke{request.subject, request.reason};
  return audited(service_.revoke(revoke, uid), uid, audit_text(revoke));
}

Result<nlohmann::json> SocketServer::restore(const Request& request, uint32_t uid) {
  const RestoreRequest restore{request.subject};
  return audited(service_.restore(restore, uid), uid, audit_text(restore));
}

// Also what did not succeed: that it was tried is worth a line.
Result<nlohmann::json> SocketServer::audited(Result<nlohmann::json> done, uint32_t uid,
                                             std::string what) {
  if (options_.audit) {
    what += done ? std::string(": done") : ": " + done.error().text;
    options_.audit(uid, what);
  }
  return done;
}

void SocketServer::next_page(Client& client) {
  Client::Cursor& cursor = client.cursor;
  const ledger::UsageQuery query = cursor.query;
  size_t page = 0;
  bool more = false;
  const Status visited = service_.records(query, [&](const ringbuf::UsageRecord& record) {
    auto& written = cursor.written_at_since;
    if (record.started_unix_ms == cursor.query.since_unix_ms) {
      if (std::find(written.begin(), written.end(), record.id) != written.end()) return true;
    }
    if (page == kRecordsPage) {
      more = true;
      return false;
    }
    if (record.started_unix_ms != cursor.query.since_unix_ms) {
      cursor.query.since_unix_ms = record.started_unix_ms;
      written.clear();
    }
    written.push_back(record.id);
    client.queue(item_line(client.request_id, to_json(record)));
    ++page;
    return true;
  });
  cursor.written += page;
  if (more && visited) return;
  client.mode = Mode::requests;
  if (!visited) return refuse(client, failure_of(visited.error()));
  client.queue(ok_line(client.request_id, {{"records", cursor.written}}));
}

void SocketServer::start_tail(Client& client) {
  if (tails() >= kTailClientsMax) {
    return refuse(
        client, {ErrorCode::failed, std::to_string(kTailClientsMax) + " tails are running already",
                 "end one of them"});
  }
  client.mode = Mode::tail;
  has_tails_.store(true, std::memory_order_release);
}

size_t SocketServer::tails() const {
  return static_cast<size_t>(
      std::count_if(clients_.begin(), clients_.end(),
                    [](const auto& client) { return client->mode == Mode::tail; }));
}

}  // namespace

Result<std::unique_ptr<Server>> Server::make(Options options, Service& service) {
  auto groups = find_role_groups(options.admin_group, options.viewer_group);
  if (!groups) return std::move(groups).forward();
  Result<SocketFile> socket =
      options.adopted ? std::move(*options.adopted) : SocketFile::make(options.socket_path);
  if (!socket) return std::move(socket).forward();
  UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return system_error(errno, "open an eventfd");
  return std::unique_ptr<Server>(std::make_unique<SocketServer>(
      std::move(options), service, std::move(socket).value(), std::move(wake), *groups));
}

}  // namespace tollgate::admin
