// The whole command tree, against a real server on a real socket.
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/admin/fake_service.h"
#include "userspace/admin/server.h"
#include "userspace/base/fd.h"
#include "userspace/ctl/ctl.h"

namespace tollgate::ctl {
namespace {

constexpr int64_t kNow = 1'795'233'600'000;  // 2026-11-21 04:00:00 UTC

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

class Tollgate : public testing::Test {
 protected:
  Outcome run_with(const std::vector<std::string>& args) {
    std::ostringstream out;
    std::ostringstream err;
    Env env{.out = out,
            .err = err,
            .now_unix_ms = kNow,
            .socket = folder_.file("admin.sock"),
            .own_path = folder_.file("tollgate"),
            .path = "/nowhere"};
    const int code = run(env, args);
    return {code, out.str(), err.str()};
  }

  // Runs the daemon's side in its own thread while the command runs in ours.
  Outcome ask(const std::vector<std::string>& args) {
    admin::Server::Options options;
    options.socket_path = folder_.file("admin.sock");
    auto server = admin::Server::make(std::move(options), service_);
    EXPECT_TRUE(server) << server.error().text;
    std::atomic<bool> done{false};
    std::thread daemon([&] {
      bool published = false;
      while (!done) {
        std::vector<pollfd> fds;
        for (const auto& [fd, events] : (*server)->interests())
          fds.push_back({fd, events, 0});
        ::poll(fds.data(), fds.size(), 10);
        (*server)->step();
        if ((*server)->counters().tails == 0 || published) continue;
        (*server)->publish(service_.all_records.at(0));
        published = true;
        (*server).reset();
        return;
      }
    });
    Outcome outcome = run_with(args);
    done = true;
    daemon.join();
    return outcome;
  }

  admin::Folder folder_;
  admin::FakeService service_;
};

TEST_F(Tollgate, EveryHelpFitsAScreenAndEndsWithTwoExamples) {
  for (const std::vector<std::string>& command :
       std::vector<std::vector<std::string>>{{},
                                             {"status"},
                                             {"usage"},
                                             {"usage", "records"},
                                             {"tail"},
                                             {"sessions"},
                                             {"peers"},
                                             {"explain"},
                                             {"revoke"},
                                             {"restore"},
                                             {"unmetered"},
                                             {"check"},
                                             {"doctor"},
                                             {"client-config"},
                                             {"reload"},
                                             {"version"}}) {
    std::vector<std::string> args = command;
    args.push_back("--help");
    const Outcome outcome = run_with(args);
    const std::string name = command.empty() ? "tollgate" : command.back();
    EXPECT_EQ(outcome.code, kExitOk) << name;
    EXPECT_LE(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 24) << outcome.out;
    const size_t examples = outcome.out.find("Examples:\n");
    ASSERT_NE(examples, std::string::npos) << name;
    const std::string tail = outcome.out.substr(examples);
    EXPECT_EQ(std::count(tail.begin(), tail.end(), '\n'), 3) << outcome.out;
    EXPECT_EQ(outcome.err, "") << name;
  }
}

TEST_F(Tollgate, MistakesGetOneSpecificLineAndExit2) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{}, "a command is missing"},
      {{"stauts"}, "unknown command stauts"},
      {{"--bogus"}, "--bogus"},
      {{"status", "--bogus"}, "unknown argument --bogus"},
      {{"usage", "--by", "peer"}, "\"peer\" is not user"},
      {{"usage", "--since", "yesterday"}, "\"yesterday\" is not a time"},
      {{"usage", "--csv", "--json"}, "--json"},
      {{"usage", "--by", "day", "records"}, "not for records"},
      {{"explain"}, "USER"},
      {{"explain", "a", "b"}, "unknown argument b"},
      {{"check"}, "FILE"},
      {{"revoke"}, "USER"},
      {{"revoke", "a", "b"}, "unknown argument b"},
      {{"restore", "a", "--why", "b"}, "unknown argument"},
      {{"status", "\x1b[2J"}, "\\x1b[2J"},
  };
  for (const auto& [args, expected] : cases) {
    const Outcome outcome = run_with(args);
    EXPECT_EQ(outcome.code, kExitUsage) << expected;
    EXPECT_EQ(outcome.out, "") << expected;
    EXPECT_NE(outcome.err.find(expected), std::string::npos) << outcome.err;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }
}

TEST_F(Tollgate, MissingDaemonIsExit4WithTheUnitAndThePath) {
  const Outcome outcome = run_with({"status"});
  EXPECT_EQ(outcome.code, kExitUnreachable);
  EXPECT_NE(outcome.err.find("systemctl start tollgated"), std::string::npos);
  EXPECT_NE(outcome.err.find(folder_.file("admin.sock")), std::string::npos);
  EXPECT_NE(run_with({"status", "--socket", "/other"}).err.find("/other"), std::string::npos);
}

TEST_F(Tollgate, DaemonThatDiesInTheMiddleIsExit4) {
  for (const char* part : {"", "{\"v\":1,\"ok\":tr", "{\"v\":2,\"ok\":true}\n", "hello\n"}) {
    const std::string path = folder_.file("admin.sock");
    const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 1), 0);
    std::thread daemon([&] {
      const UniqueFd client(::accept(listener.get(), nullptr, nullptr));
      (void)!::send(client.get(), part, std::string(part).size(), MSG_NOSIGNAL);
    });
    EXPECT_EQ(run_with({"status"}).code, kExitUnreachable) << part;
    daemon.join();
    std::filesystem::remove(path);
  }
}

TEST_F(Tollgate, UsageTable) {
  service_.rows.resize(2);
  service_.rows[0] = {"alice@example.com", 1'200, 3, 1, 1'234'567, 1'000, 45'678, 900,
                      {12'400'000'000}};
  service_.rows[1] = {"\x1b[2Jbob", 1, 0, 0, 10, 0, 2, 0, {1'234'000}};
  EXPECT_EQ(ask({"usage"}).out,
            "Usage by user, in the last 24h\n\n"
            "USER               REQUESTS  REFUSED  ESTIMATED      INPUT  CACHED  OUTPUT  REASONING"
            "       COST\n"
            "alice@example.com     1,200        3          1  1,234,567   1,000  45,678        900"
            "     $12.40\n"
            "\\x1b[2Jbob                1        0          0         10       0       2          0"
            "  $0.001234\n"
            "TOTAL                 1,201        3          1  1,234,577   1,000  45,680        900"
            "     $12.40\n");
  EXPECT_NE(ask({"usage", "--csv"})
                .out.find("alice@example.com,1200,3,1,1234567,1000,45678,900,"
                          "12.40\n"),
            std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(ask({"usage", "--json"}).out)["rows"].size(), 2u);
  EXPECT_EQ(service_.asked.back().since_unix_ms, kNow - 86'400'000);
}

TEST_F(Tollgate, EmptyAnswersAreSentences) {
  EXPECT_EQ(ask({"usage", "--since", "7d"}).out, "No usage in the last 7d.\n");
  EXPECT_EQ(ask({"usage", "records", "--since", "2026-11-20"}).out,
            "No records since 2026-11-20 00:00:00 UTC.\n");
  EXPECT_EQ(ask({"peers"}).out, "No peers are known.\n");
  EXPECT_EQ(ask({"sessions"}).out, "No requests are running.\n");
}

TEST_F(Tollgate, PeersShowTheirKeyAndWhyTheyAreNobody) {
  const std::string problem = "bob is nobody: wg0 has no peer with that key";
  service_.peers_answer = {{{"user", "alice"},
                            {"address", "10.99.0.2"},
                            {"tunnel", "wg0"},
                            {"peer_id", 3},
                            {"public_key", "MIIdDLMYqZ2Kp5Vt1jUqUG0lzNq8tA3u2pMyCQ0cCkU="},
                            {"endpoint", "192.0.2.1:51820"},
                            {"last_handshake_unix_s", kNow / 1000 - 65}},
                           {{"user", "bob"}, {"tunnel", "wg0"}, {"problem", problem}}};
  const std::string out = ask({"peers"}).out;
  EXPECT_NE(out.find("MIIdDLMY...       1m5s  192.0.2.1:51820\n"), out.npos) << out;
  EXPECT_NE(out.find("nobody"), out.npos) << out;
  EXPECT_TRUE(out.ends_with("\n" + problem + "\n")) << out;
}

TEST_F(Tollgate, RecordsAndTail) {
  service_.all_records = {admin::record_at(7, kNow), admin::record_at(8, kNow)};
  const std::string line =
      "2026-11-21 04:00:00  alice@example.com  gpt-5.5  completed 200  in 0 out 0  $12.40  0.0s  "
      "gw_00000000000000010000000000000007\n";
  EXPECT_TRUE(ask({"usage", "records"}).out.starts_with(line));
  const Outcome json = ask({"usage", "records", "--json"});
  EXPECT_EQ(std::count(json.out.begin(), json.out.end(), '\n'), 2);
  const auto first = nlohmann::json::parse(json.out.substr(0, json.out.find('\n')));
  EXPECT_EQ(first["cost_usd"], "12.40");
  EXPECT_EQ(first["x_request_id"], first["id"]);
  const Outcome tail = ask({"tail"});
  EXPECT_EQ(tail.out, line);
  EXPECT_EQ(tail.code, kExitOk);
  EXPECT_NE(tail.err.find("daemon stops"), std::string::npos);
}

TEST_F(Tollgate, OtherCommands) {
  EXPECT_NE(ask({"status"}).out.find("tollgated 0.1.0, pid 0, up 0.0s: healthy\n"),
            std::string::npos);
  EXPECT_EQ(ask({"explain", "a", "--model", "m"}).out,
            "a (eng), model m: allowed by policy office, provider main\n\n"
            "STEP   PASSED  REASON\nmodel  yes     ok\n");
  const Outcome refused = ask({"explain", "nobody"});
  EXPECT_EQ(refused.code, kExitRefused);
  EXPECT_EQ(refused.err, "tollgate: failed: explain nobody: no such user\nhint: see peers\n");
  EXPECT_EQ(ask({"reload"}).out,
            "Configuration loaded: 3 policies, 1,200 peers, price version 2026-11.\n");
  EXPECT_TRUE(ask({"version"}).out.find("\ntollgated ") != std::string::npos);
  EXPECT_TRUE(run_with({"--version"}).out.starts_with("tollgate "));
}

TEST_F(Tollgate, RevokesAndRestores) {
  const Outcome revoked = ask({"revoke", "alice@example.com", "--why", "laptop lost"});
  EXPECT_EQ(revoked.code, kExitOk);
  EXPECT_EQ(revoked.out,
            "Revoked user alice@example.com at 10.99.0.2: what it has running ends now, and its "
            "requests are refused.\n");
  EXPECT_EQ(service_.revokes.at(0).first.reason, "laptop lost");
  EXPECT_EQ(ask({"restore", "alice@example.com"}).out,
            "Restored user alice@example.com: its requests are decided by policy again.\n");
  EXPECT_EQ(ask({"revoke", "nobody"}).code, kExitRefused);
  service_.store_error = "disk full";
  const Outcome fleeting = ask({"revoke", "alice@example.com", "--json"});
  EXPECT_EQ(fleeting.code, kExitNotDurable);
  EXPECT_FALSE(nlohmann::json::parse(fleeting.out)["durable"].get<bool>());
  EXPECT_NE(fleeting.err.find("ends with the daemon"), std::string::npos) << fleeting.err;
  EXPECT_NE(fleeting.err.find("disk full"), std::string::npos) << fleeting.err;
}

TEST_F(Tollgate, ShowsWhoIsRevokedSinceWhenAndByWhom) {
  const nlohmann::json revocation = {{"scope", "user"},         {"subject", "alice@example.com"},
                                     {"since_unix_ms", kNow},   {"uid", 1000},
                                     {"reason", "laptop lost"}, {"durable", true}};
  service_.peers_answer = {{{"user", "alice@example.com"}, {"revoked", revocation}},
                           {{"user", "bob"}, {"revoked", nullptr}}};
  service_.status_answer["revocations"] = nlohmann::json::array({revocation});
  const std::string words = "since 2026-11-21 04:00:00 UTC by uid 1000 (laptop lost)\n";
  const std::string peers = ask({"peers"}).out;
  EXPECT_NE(peers.find("REVOKED"), std::string::npos) << peers;
  EXPECT_NE(peers.find(words), std::string::npos) << peers;
  EXPECT_NE(ask({"status"}).out.find("user alice@example.com " + words), std::string::npos);
  service_.peers_answer = {{{"user", "bob"}, {"revoked", nullptr}}};
  EXPECT_EQ(ask({"peers"}).out.find("REVOKED"), std::string::npos);
}

TEST_F(Tollgate, UnmeteredListsAndAcknowledges) {
  EXPECT_EQ(ask({"unmetered"}).out, "No traffic to providers without a usage record.\n");
  service_.unmetered_answer = {{"refusing", true},
                               {"flows",
                                {{{"flow_id", 17},
                                  {"provider", "openai"},
                                  {"remote", "10.98.0.2:443"},
                                  {"bytes_sent", 102'400},
                                  {"bytes_received", 0},
                                  {"records", 1},
                                  {"at_unix_s", 1'795'224'796}}}}};
  const std::string listed = ask({"unmetered"}).out;
  EXPECT_NE(listed.find("openai"), std::string::npos) << listed;
  EXPECT_NE(listed.find("10.98.0.2:443"), std::string::npos) << listed;
  EXPECT_NE(listed.find("REQUESTS ARE REFUSED"), std::string::npos) << listed;
  EXPECT_EQ(service_.acknowledged, 0);
  EXPECT_NE(ask({"unmetered", "--acknowledge"}).out.find("Acknowledged 2 connections"),
            std::string::npos);
  EXPECT_EQ(service_.acknowledged, 1);
}

TEST_F(Tollgate, StrangeShapesFromAnotherVersionDoNoHarm) {
  for (const char* text : {"null", "[]", "7", R"({"problems":3,"tls":[],"steering":"x"})",
                           R"([{"user":7,"groups":"x"},3])"}) {
    service_.status_answer = service_.peers_answer = service_.sessions_answer =
        nlohmann::json::parse(text);
    for (const char* command : {"status", "peers", "sessions"}) {
      EXPECT_EQ(ask({command}).code, kExitOk) << command << ' ' << text;
    }
  }
}

TEST_F(Tollgate, CheckPassesOnTheDaemonsExitCode) {
  EXPECT_EQ(run_with({"check", "x.toml"}).code, kExitUnreachable);
  const std::string daemon = folder_.file("tollgated");
  std::ofstream(daemon) << "#!/bin/sh\n[ \"$1 $2\" = '--check good.toml' ] || exit 3\n";
  std::filesystem::permissions(daemon, std::filesystem::perms::all);
  EXPECT_EQ(run_with({"check", "good.toml"}).code, kExitOk);
  EXPECT_EQ(run_with({"check", "bad.toml"}).code, 3);
}

TEST_F(Tollgate, DoctorPassesOnTheDaemonsExitCodeAndAsksForJson) {
  const std::string daemon = folder_.file("tollgated");
  std::ofstream(daemon) << "#!/bin/sh\ncase \"$*\" in\n"
                           "'--doctor /etc/tollgate/tollgate.toml') exit 0;;\n"
                           "'--doctor x.toml --json') exit 1;;\n"
                           "esac\nexit 9\n";
  std::filesystem::permissions(daemon, std::filesystem::perms::all);
  EXPECT_EQ(run_with({"doctor"}).code, kExitOk);
  EXPECT_EQ(run_with({"doctor", "x.toml", "--json"}).code, 1);
}

TEST_F(Tollgate, ClientConfigPassesOnWhatWasAskedForAndTheExitCode) {
  const std::string daemon = folder_.file("tollgated");
  std::ofstream(daemon) << "#!/bin/sh\ncase \"$*\" in\n"
                           "'--client-config /etc/tollgate/tollgate.toml') exit 0;;\n"
                           "'--client-config x.toml --user=a@b --ca=ca.pem --json') exit 1;;\n"
                           "esac\nexit 9\n";
  std::filesystem::permissions(daemon, std::filesystem::perms::all);
  EXPECT_EQ(run_with({"client-config"}).code, kExitOk);
  EXPECT_EQ(run_with({"client-config", "x.toml", "--user", "a@b", "--json", "--ca", "ca.pem"}).code,
            1);
}

}  // namespace
}  // namespace tollgate::ctl
