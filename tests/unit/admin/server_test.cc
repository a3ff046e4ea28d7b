#include "userspace/admin/server.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/admin/fake_service.h"
#include "userspace/admin/lines.h"
#include "userspace/admin/protocol.h"
#include "userspace/base/fd.h"

namespace tollgate::admin {
namespace {

UniqueFd connect_to(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return {};
  }
  return socket;
}

void write_all(const UniqueFd& socket, std::string_view text) {
  (void)!::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
}

class AdminServer : public testing::Test {
 protected:
  void SetUp() override {
    auto made = Server::make(options(), service_);
    ASSERT_TRUE(made) << made.error().text;
    server_ = std::move(*made);
  }
  Server::Options options() {
    Server::Options options;
    options.socket_path = folder_.file("admin.sock");
    options.audit = [this](uint32_t uid, const std::string& what) {
      audit_.push_back(std::to_string(uid) + " " + what);
    };
    // Groups that every Debian has stand in for ours.
    options.admin_group = "daemon";
    options.viewer_group = "bin";
    options.now_ms = [this] { return now_ms_; };
    return options;
  }
  UniqueFd connect_here() {
    UniqueFd socket = connect_to(folder_.file("admin.sock"));
    server_->step();
    return socket;
  }
  // Steps the server until the client has a whole answer line, or until it is cut off ("").
  std::string read_line(const UniqueFd& socket) {
    std::string line;
    for (int rounds = 0; rounds < 100'000; ++rounds) {
      server_->step();
      char c = 0;
      ssize_t got = 0;
      while ((got = ::recv(socket.get(), &c, 1, MSG_DONTWAIT)) == 1) {
        if (c == '\n') return line;
        line += c;
      }
      if (got == 0 || errno != EAGAIN) return {};
    }
    return "no answer";
  }
  std::string ask(const UniqueFd& socket, const std::string& line) {
    write_all(socket, line + "\n");
    return read_line(socket);
  }
  // The answer to `line`, asked by another uid with one supplementary group.
  std::string ask_as(uid_t uid, gid_t group, const std::string& line) {
    int pipe_fds[2];
    EXPECT_EQ(::pipe(pipe_fds), 0);
    UniqueFd from(pipe_fds[0]);
    UniqueFd to(pipe_fds[1]);
    const std::string path = folder_.file("admin.sock");
    const pid_t child = ::fork();
    if (child == 0) {
      if (::setgroups(1, &group) != 0 || ::setgid(65534) != 0 || ::setuid(uid) != 0) ::_exit(1);
      const UniqueFd socket = connect_to(path);
      write_all(socket, line + "\n");
      char buffer[4096];
      const ssize_t got = ::recv(socket.get(), buffer, sizeof buffer, 0);
      if (got > 0) (void)!::write(to.get(), buffer, static_cast<size_t>(got));
      ::_exit(0);
    }
    int status = 0;
    while (::waitpid(child, &status, WNOHANG) == 0) {
      std::vector<pollfd> fds;
      for (const auto& [fd, events] : server_->interests())
        fds.push_back({fd, events, 0});
      ::poll(fds.data(), fds.size(), 10);
      server_->step();
    }
    to.reset();
    char buffer[4096];
    const ssize_t got = ::read(from.get(), buffer, sizeof buffer);
    return std::string(buffer, static_cast<size_t>(std::max<ssize_t>(got, 0)));
  }

  Folder folder_;
  FakeService service_;
  std::vector<std::string> audit_;
  int64_t now_ms_ = 1'000;
  std::unique_ptr<Server> server_;
};

TEST_F(AdminServer, AnswersInOrderAndKeepsTheId) {
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"id\":1,\"verb\":\"version\"}\n{\"v\":1,\"id\":2,\"verb\":\"x\"}\n");
  EXPECT_NE(read_line(client).find("\"id\":1,\"ok\":true"), std::string::npos);
  EXPECT_NE(read_line(client).find("unknown_verb"), std::string::npos);
}

TEST_F(AdminServer, AnswersACallerThatClosedItsSendingSide) {
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"verb\":\"status\"}\n");
  ::shutdown(client.get(), SHUT_WR);
  EXPECT_NE(read_line(client).find("\"healthy\":true"), std::string::npos);
  EXPECT_EQ(read_line(client), "");
  EXPECT_EQ(server_->counters().clients, 0u);
}

TEST_F(AdminServer, HandsItsSocketOverWithoutSendingACallerAway) {
  const UniqueFd asking = connect_here();
  const UniqueFd tail = connect_here();
  write_all(tail, "{\"v\":1,\"id\":7,\"verb\":\"tail\"}\n");
  for (int i = 0; i < 3; ++i)
    server_->step();
  const SocketFile& socket = server_->socket();
  UniqueFd lock(::dup(socket.lock_fd()));
  UniqueFd listener(::dup(socket.fd()));
  server_->hand_over();
  EXPECT_NE(read_line(tail).find("another daemon"), std::string::npos);
  EXPECT_NE(ask(asking, "{\"v\":1,\"verb\":\"status\"}").find("healthy"), std::string::npos);
  EXPECT_NE(ask(asking, "{\"v\":1,\"verb\":\"reload\"}").find("try again"), std::string::npos);
  // A caller in between waits for the next one.
  const UniqueFd early = connect_here();
  const std::string path = folder_.file("admin.sock");
  EXPECT_FALSE(SocketFile::make(path)) << "the lock is held all the time";
  Server::Options adopting = options();
  adopting.adopted.emplace(SocketFile::adopt(path, std::move(lock), std::move(listener)));
  auto next = Server::make(std::move(adopting), service_);
  ASSERT_TRUE(next) << next.error().text;
  server_ = std::move(*next);
  EXPECT_NE(ask(early, "{\"v\":1,\"verb\":\"status\"}").find("healthy"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(path));
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AdminServer, OverlongRequestIsRefusedAndClosed) {
  const UniqueFd client = connect_here();
  for (int i = 0; i < 5; ++i) {
    write_all(client, std::string(16 * 1024, 'x'));
    server_->step();
  }
  EXPECT_NE(read_line(client).find("over 65536"), std::string::npos);
  EXPECT_EQ(read_line(client), "");
}

TEST_F(AdminServer, GroupTotalCountsAUserOfTwoGroupsOnce) {
  ledger::UsageRow row;
  row.requests = 4;
  row.cost = {5};
  service_.rows = {row};
  service_.group_rows = {row, row};
  const UniqueFd client = connect_here();
  const auto answer =
      parse_answer(ask(client, R"({"v":1,"verb":"usage","args":{"by":"group","user":"a"}})"));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body["rows"].size(), 2u);
  EXPECT_EQ(answer->body["total"]["requests"], 4);
  EXPECT_EQ(service_.asked.front().user, "a");
}

TEST_F(AdminServer, RecordsStreamOverManyPagesEachOnce) {
  // Many share a millisecond, so that pages begin in the middle of one.
  for (uint64_t i = 0; i < 2'000; ++i) {
    service_.all_records.push_back(record_at(i, static_cast<int64_t>(i / 700)));
  }
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"verb\":\"records\"}\n");
  for (uint64_t i = 0; i < 2'000; ++i) {
    const auto answer = parse_answer(read_line(client));
    ASSERT_TRUE(answer) << i;
    ASSERT_EQ(answer->body["id"], tollgate::to_string(RequestId{1, i}));
  }
  EXPECT_EQ(parse_answer(read_line(client))->body["records"], 2'000);
}

TEST_F(AdminServer, StalledCallerIsCutAfterTheBoundNotBefore) {
  for (uint64_t i = 0; i < 2'000; ++i)
    service_.all_records.push_back(record_at(i, 1));
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"verb\":\"records\"}\n");
  for (int i = 0; i < 20; ++i)
    server_->step();
  now_ms_ += kStalledMs - 1;
  server_->step();
  EXPECT_EQ(server_->counters().clients, 1u);
  now_ms_ += 1;
  server_->step();
  EXPECT_EQ(server_->counters().clients, 0u);
  EXPECT_EQ(server_->counters().cut, 1u);
}

TEST_F(AdminServer, TailGetsWhatIsPublishedAndAnEndWhenTheDaemonStops) {
  const UniqueFd client = connect_here();
  server_->publish(record_at(1, 1));  // before the subscription: not ours
  write_all(client, "{\"v\":1,\"verb\":\"tail\"}\n");
  server_->step();
  ASSERT_EQ(server_->counters().tails, 1u);
  server_->publish(record_at(2, 2));
  EXPECT_EQ(parse_answer(read_line(client))->body["started_unix_ms"], 2);
  server_.reset();
  char buffer[256] = "";
  EXPECT_GT(::recv(client.get(), buffer, sizeof buffer - 1, 0), 0);
  EXPECT_NE(std::string(buffer).find("daemon stops"), std::string::npos);
}

TEST_F(AdminServer, TailThatDoesNotReadIsCutAndCounted) {
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"verb\":\"tail\"}\n");
  server_->step();
  for (int i = 0; i < 10'000 && server_->counters().tails == 1; ++i) {
    server_->publish(record_at(1, 1));
    server_->step();
  }
  EXPECT_EQ(server_->counters().tails, 0u);
  EXPECT_EQ(server_->counters().cut, 1u);
}

TEST_F(AdminServer, TailIsToldOfRecordsThatCameTooFast) {
  const UniqueFd client = connect_here();
  write_all(client, "{\"v\":1,\"verb\":\"tail\"}\n");
  server_->step();
  auto small = record_at(1, 1);
  for (size_t i = 0; i < kPublishedMax + 3; ++i)
    server_->publish(small);
  server_->step();
  EXPECT_EQ(server_->counters().records_lost, 3u);
}

TEST_F(AdminServer, FullServerMakesRoomOfTheLongestIdle) {
  std::vector<UniqueFd> clients;
  for (size_t i = 0; i < kClientsMax; ++i) {
    now_ms_ += 1;
    clients.push_back(connect_here());
  }
  const UniqueFd late = connect_here();
  EXPECT_NE(ask(late, R"({"v":1,"verb":"status"})").find("\"ok\":true"), std::string::npos);
  EXPECT_EQ(read_line(clients[0]), "");
  EXPECT_NE(ask(clients[1], R"({"v":1,"verb":"status"})").find("\"ok\":true"), std::string::npos);
}

TEST_F(AdminServer, ReloadIsAudited) {
  const UniqueFd client = connect_here();
  EXPECT_NE(ask(client, R"({"v":1,"verb":"reload"})").find("\"ok\":true"), std::string::npos);
  EXPECT_EQ(audit_, std::vector<std::string>{std::to_string(::geteuid()) + " reload: done"});
}

TEST_F(AdminServer, UnmeteredIsReadAndItsAcknowledgementIsAudited) {
  const UniqueFd client = connect_here();
  EXPECT_NE(ask(client, R"({"v":1,"verb":"unmetered"})").find("\"refusing\":false"),
            std::string::npos);
  EXPECT_EQ(service_.acknowledged, 0);
  EXPECT_TRUE(audit_.empty());
  EXPECT_NE(ask(client, R"({"v":1,"verb":"acknowledge"})").find("\"acknowledged\":2"),
            std::string::npos);
  EXPECT_EQ(service_.acknowledged, 1);
  EXPECT_EQ(audit_, std::vector<std::string>{std::to_string(::geteuid()) +
                                             " acknowledge unmetered traffic: done"});
}

TEST_F(AdminServer, GrantAndResetReachTheServiceAndTheAuditLogWithTheUid) {
  const UniqueFd client = connect_here();
  const std::string uid = std::to_string(::geteuid());
  EXPECT_NE(ask(client, R"({"v":1,"verb":"grant","args":{"scope":"user","subject":"alice",)"
                        R"("unit":"usd","amount":"10","for_s":3600,"reason":"\"demo\" day"}})")
                .find("\"until_unix_s\":1795320000"),
            std::string::npos);
  ASSERT_EQ(service_.grants.size(), 1u);
  EXPECT_EQ(service_.grants[0].first.amount, 10'000'000'000);
  EXPECT_EQ(service_.grants[0].first.for_s, 3'600);
  EXPECT_EQ(service_.grants[0].second, ::geteuid());
  EXPECT_NE(ask(client, R"({"v":1,"verb":"grant","args":{"scope":"user","subject":"nobody",)"
                        R"("unit":"tokens","amount":"5","for_s":1}})")
                .find("see `tollgate peers`"),
            std::string::npos);
  EXPECT_NE(ask(client, R"({"v":1,"verb":"reset","args":{"scope":"group","subject":"eng"}})")
                .find("\"id\":8"),
            std::string::npos);
  EXPECT_EQ(service_.resets.at(0).first.subject, "eng");
  EXPECT_EQ(audit_,
            (std::vector<std::string>{
                uid + " grant 10.00 usd to user alice for 3600 s, reason ''demo' day': done",
                uid + " grant 5 tokens to user nobody for 1 s: grant nobody: no such user",
                uid + " reset group eng: done"}));
}

TEST_F(AdminServer, RevokeAndRestoreReachTheServiceAndTheAuditLogWithTheUid) {
  const UniqueFd client = connect_here();
  const std::string uid = std::to_string(::geteuid());
  EXPECT_NE(ask(client, R"({"v":1,"verb":"revoke","args":{"subject":"alice","reason":"lost"}})")
                .find("\"durable\":true"),
            std::string::npos);
  ASSERT_EQ(service_.revokes.size(), 1u);
  EXPECT_EQ(service_.revokes[0].first.reason, "lost");
  EXPECT_EQ(service_.revokes[0].second, ::geteuid());
  ask(client, R"({"v":1,"verb":"revoke","args":{"subject":"nobody"}})");
  ask(client, R"({"v":1,"verb":"restore","args":{"subject":"alice"}})");
  EXPECT_EQ(service_.restores.at(0).first.subject, "alice");
  EXPECT_EQ(audit_, (std::vector<std::string>{uid + " revoke alice, reason 'lost': done",
                                              uid + " revoke nobody: revoke nobody: no such user",
                                              uid + " restore alice: done"}));
}

TEST_F(AdminServer, OutcomeReachesTheLedger) {
  const UniqueFd client = connect_here();
  ask(client, R"({"v":1,"verb":"usage","args":{"outcome":"cut"}})");
  ask(client, R"({"v":1,"verb":"usage"})");
  ASSERT_EQ(service_.asked.size(), 2u);
  EXPECT_EQ(service_.asked[0].outcome, ringbuf::Outcome::cut);
  EXPECT_EQ(service_.asked[1].outcome, std::nullopt);
}

TEST_F(AdminServer, RecordsCarryTheirHold) {
  auto record = record_at(1, 1);
  record.hold_input_tokens = 11'000;
  record.hold_output_tokens = 1'850;
  record.hold_cost = {280'000'000};
  record.tool_calls = 2;
  record.settled_unix_ms = 5;
  record.settled_window_ms = 6;
  const nlohmann::json written = to_json(record);
  EXPECT_EQ(written["hold_input_tokens"], 11'000);
  EXPECT_EQ(written["hold_output_tokens"], 1'850);
  EXPECT_EQ(written["hold_cost_nano_usd"], 280'000'000);
  EXPECT_EQ(written["tool_calls"], 2);
  EXPECT_EQ(written["settled_unix_ms"], 5);
  EXPECT_EQ(written["settled_window_ms"], 6);
}

TEST_F(AdminServer, RolesFollowUidAndSupplementaryGroups) {
  if (::geteuid() != 0) GTEST_SKIP() << "connecting as another uid needs root";
  struct Case {
    const char* description;
    gid_t group;
    const char* verb;
    const char* expected;
  };
  const gid_t admin = ::getgrnam("daemon")->gr_gid;
  const gid_t viewer = ::getgrnam("bin")->gr_gid;
  const Case cases[] = {{"viewer reads", viewer, "status", "\"ok\":true"},
                        {"viewer reads limits", viewer, "limits", "\"ok\":true"},
                        {"viewer changes nothing", viewer, "reload", "forbidden"},
                        {"admin changes", admin, "reload", "\"ok\":true"},
                        {"stranger is told so", 65534, "status", "forbidden"}};
  for (const Case& test : cases) {
    const std::string answer =
        ask_as(65534, test.group, std::string(R"({"v":1,"verb":")") + test.verb + "\"}");
    EXPECT_NE(answer.find(test.expected), std::string::npos) << test.description << ": " << answer;
  }
  EXPECT_EQ(service_.reloads, 1);
}

TEST_F(AdminServer, LiveSocketIsRefusedAndStaleOneReplaced) {
  EXPECT_FALSE(Server::make(options(), service_));
  server_.reset();
  {  // What a killed daemon leaves: a bound file that nobody listens to.
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    folder_.file("admin.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_TRUE(Server::make(options(), service_));
}

TEST_F(AdminServer, AnotherFileAtThePathIsLeftAlone) {
  server_.reset();
  EXPECT_FALSE(std::filesystem::exists(folder_.file("admin.sock")));
  std::ofstream(folder_.file("admin.sock")) << "mine";
  EXPECT_FALSE(Server::make(options(), service_));
  EXPECT_TRUE(std::filesystem::exists(folder_.file("admin.sock")));
}

}  // namespace
}  // namespace tollgate::admin
