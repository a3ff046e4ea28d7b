#include "userspace/daemon/doctor.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace tollgate::daemon {
namespace {

using State = Finding::State;

constexpr int64_t kNow = 1'795'224'796;
constexpr int64_t kDay = 86'400;

TEST(Doctor, JudgesKernels) {
  const std::pair<const char*, State> rows[] = {
      {"6.12.0", State::ok},
      {"6.12-rc1", State::ok},
      {"7.0.3-arch1", State::ok},
      {"6.11.9", State::degraded},
      {"6.1.0-37-amd64", State::degraded},
      {"6.0.19", State::broken},
      {"5.15.0", State::broken},
      {"next", State::degraded},
  };
  for (const auto& [release, state] : rows)
    EXPECT_EQ(judge_kernel(release).state, state) << release;
}

TEST(Doctor, JudgesKernelTlsByWhatIsAskedFor) {
  const tls::KernelTls none{false, {}, "no module tls"};
  tls::KernelTls full;
  full.available = true;
  full.use.rekey = true;
  tls::KernelTls without_rekey = full;
  without_rekey.use.rekey = false;
  EXPECT_EQ(judge_kernel_tls("userspace", none).state, State::ok);
  EXPECT_EQ(judge_kernel_tls("auto", none).state, State::degraded);
  EXPECT_NE(judge_kernel_tls("auto", none).says.find("no module tls"), std::string::npos);
  EXPECT_EQ(judge_kernel_tls("ktls", none).state, State::broken);
  EXPECT_EQ(judge_kernel_tls("ktls", without_rekey).state, State::degraded);
  EXPECT_EQ(judge_kernel_tls("ktls", full).state, State::ok);
}

TEST(Doctor, JudgesTunnels) {
  identity::Tunnel tunnel;
  tunnel.name = "wg0";
  EXPECT_EQ(judge_tunnel(tunnel).state, State::broken);
  tunnel.ifindex = 7;
  EXPECT_NE(judge_tunnel(tunnel).says.find("down"), std::string::npos);
  tunnel.up = true;
  EXPECT_EQ(judge_tunnel(tunnel).state, State::degraded);
  tunnel.wireguard = true;
  EXPECT_EQ(judge_tunnel(tunnel).state, State::ok);
  tunnel.unreadable = "not permitted";
  EXPECT_EQ(judge_tunnel(tunnel).state, State::degraded);
}

TEST(Doctor, JudgesWhomACertificateIsFor) {
  const std::pair<std::vector<std::string>, State> rows[] = {
      {{"api.openai.com"}, State::ok}, {{"x", "*.openai.com"}, State::ok},
      {{"openai.com"}, State::broken}, {{"*.api.openai.com"}, State::broken},
      {{"*"}, State::broken},          {{}, State::broken},
  };
  for (const auto& [names, state] : rows)
    EXPECT_EQ(judge_names("intercept", "api.openai.com", names).state, state);
}

TEST(Doctor, JudgesTimesAndSpaceOnBothSidesOfTheirBounds) {
  const auto expiry = [](int64_t left_s) {
    return judge_expiry("certificate", kNow + left_s, kNow).state;
  };
  EXPECT_EQ(expiry(0), State::broken);
  EXPECT_EQ(expiry(1), State::degraded);
  EXPECT_EQ(expiry(14 * kDay - 1), State::degraded);
  EXPECT_EQ(expiry(14 * kDay), State::ok);
  EXPECT_EQ(judge_price_age("f", kNow - 120 * kDay, kNow).state, State::ok);
  EXPECT_EQ(judge_price_age("f", kNow - 120 * kDay - 1, kNow).state, State::degraded);
  EXPECT_EQ(judge_price_age("f", kNow + kDay, kNow).state, State::ok);
  constexpr uint64_t kMiB = 1024 * 1024;
  EXPECT_EQ(judge_space("/s", 128 * kMiB - 1).state, State::broken);
  EXPECT_EQ(judge_space("/s", 128 * kMiB).state, State::degraded);
  EXPECT_EQ(judge_space("/s", 1024 * kMiB).state, State::ok);
}

TEST(Doctor, JudgesWhoMayReadAKey) {
  const Reader reader{"tollgate", 900, {900, 901}};
  const struct {
    const char* description;
    FileMode file;
    const Reader* reader;
    State state;
  } rows[] = {
      {"root:tollgate 0640", {0640, 0, 900}, &reader, State::ok},
      {"another group of the reader's", {0640, 0, 901}, &reader, State::ok},
      {"a group that is not", {0640, 0, 7}, &reader, State::degraded},
      {"the group may not", {0600, 0, 900}, &reader, State::degraded},
      {"the reader's own", {0400, 900, 0}, &reader, State::ok},
      {"the reader's own, closed to it", {0040, 900, 900}, &reader, State::degraded},
      {"root stays root", {0600, 0, 0}, nullptr, State::ok},
      {"world-readable", {0644, 0, 900}, &reader, State::broken},
      {"world-readable, root stays", {0604, 0, 0}, nullptr, State::broken},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(judge_key_file("key", "/k", row.file, row.reader).state, row.state)
        << row.description;
  }
}

TEST(Doctor, PassesOnTheProblemsOfARunningGateway) {
  const auto judged = [](const std::string& answer) { return judge_status("/s", answer); };
  EXPECT_EQ(judged("").at(0).state, State::degraded);
  EXPECT_EQ(judged("no answer").at(0).state, State::degraded);
  EXPECT_EQ(judged(R"({"v":1,"ok":false})").at(0).state, State::degraded);
  EXPECT_EQ(judged(R"({"v":1,"ok":true,"data":{"problems":[]}})").at(0).state, State::ok);
  const Findings two = judged(R"({"data":{"problems":["a","b",3]}})");
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[0].says, "a");
  EXPECT_EQ(two[1].state, State::degraded);
}

TEST(Doctor, EachLineSaysStateWhatAndWhatToDo) {
  const Findings findings = {{State::ok, "kernel", "6.12.1"},
                             {State::degraded, "clock", "not synchronised", "timedatectl"}};
  std::ostringstream out;
  show(out, findings);
  EXPECT_EQ(out.str(),
            "ok        kernel            6.12.1\n"
            "degraded  clock             not synchronised\n"
            "                            try: timedatectl\n"
            "\n1 ok, 1 degraded, 0 broken\n");
  EXPECT_EQ(exit_code(findings), 0);
  const nlohmann::json json = to_json(findings);
  EXPECT_EQ(json["healthy"], true);
  EXPECT_EQ(json["findings"][1]["remedy"], "timedatectl");
}

TEST(Doctor, OnlyWhatIsBrokenIsAFailure) {
  EXPECT_EQ(exit_code({}), 0);
  EXPECT_EQ(exit_code({{State::degraded, "a", "b", "c"}}), 0);
  EXPECT_EQ(exit_code({{State::ok, "a", "b"}, {State::broken, "a", "b", "c"}}), 1);
}

TEST(Doctor, AConfigurationThatCannotBeReadIsTheOnlyFinding) {
  std::ostringstream out;
  EXPECT_EQ(doctor(out, "/nonexistent.toml", false), 1);
  EXPECT_TRUE(out.str().starts_with("broken    configuration")) << out.str();
  EXPECT_NE(out.str().find("0 ok, 0 degraded, 1 broken"), std::string::npos);
}

}  // namespace
}  // namespace tollgate::daemon
