#include <gtest/gtest.h>

#include <algorithm>

#include "policy/policy_parse.h"
#include "tests/unit/policy/config_text.h"

namespace tollgate::policy {
namespace {

const std::string kLimit = "[[policy.limit]]\nper = \"user\"\n";

// The minimal file and these lines, which begin within its one policy.
std::vector<Limit> limits_of(const std::string& lines) {
  EXPECT_EQ(told(kMinimal + lines), "");
  const auto parsed = parse_config(kMinimal + lines);
  const auto* config = std::get_if<Config>(&parsed);
  return config == nullptr ? std::vector<Limit>{} : config->rules[0].limits;
}

Window rolling(int64_t ms) {
  Window window;
  window.rolling_ms = ms;
  return window;
}

Limit user_limit(LimitUnit unit, int64_t amount, Window window) {
  Limit limit;
  limit.unit = unit;
  limit.amount = amount;
  limit.window = std::move(window);
  return limit;
}

TEST(ParseLimits, MakesOneLimitOfEachAmountInTheOrderOfUnits) {
  const auto limits = limits_of(kLimit +
                                "concurrent = 4\nrequests = 30\ntokens = 2000\nusd = \"12.40\"\n"
                                "window = \"24h\"\n");
  const std::vector<Limit> expected = {
      user_limit(LimitUnit::usd, 12'400'000'000, rolling(86'400'000)),
      user_limit(LimitUnit::tokens, 2000, rolling(86'400'000)),
      user_limit(LimitUnit::requests, 30, rolling(86'400'000)),
      user_limit(LimitUnit::concurrent, 4, Window{}),
  };
  EXPECT_EQ(limits, expected);
}

TEST(ParseLimits, ConcurrentAloneNeedsNoWindow) {
  const std::vector<Limit> expected = {user_limit(LimitUnit::concurrent, 1, Window{})};
  EXPECT_EQ(limits_of(kLimit + "concurrent = 1\n"), expected);
}

TEST(ParseLimits, ReadsEveryWindow) {
  const auto calendar = [](Window::Kind kind, const char* zone) {
    Window window;
    window.kind = kind;
    window.timezone = zone;
    return window;
  };
  const std::pair<const char*, Window> rows[] = {
      {"window = \"1s\"", rolling(1000)},
      {"window = \"30s\"", rolling(30'000)},
      {"window = \"90m\"", rolling(5'400'000)},
      {"window = \"24h\"", rolling(86'400'000)},
      {"window = \"7d\"", rolling(604'800'000)},
      {"window = \"31d\"", rolling(2'678'400'000)},
      {"window = \"744h\"", rolling(2'678'400'000)},
      {"window = \"day\"", calendar(Window::Kind::day, "UTC")},
      {"window = \"week\"\ntimezone = \"Etc/GMT+5\"", calendar(Window::Kind::week, "Etc/GMT+5")},
      {"timezone = \"America/Port-au-Prince\"\nwindow = \"month\"",
       calendar(Window::Kind::month, "America/Port-au-Prince")},
  };
  for (const auto& [lines, window] : rows) {
    const auto limits = limits_of(kLimit + "usd = \"1\"\n" + lines + "\n");
    ASSERT_EQ(limits.size(), 1u) << lines;
    EXPECT_EQ(limits[0].window, window) << lines;
  }
}

TEST(ParseLimits, WindowsAreToldAsTheyAreWritten) {
  const std::pair<const char*, const char*> rows[] = {
      {"window = \"24h\"", "24h"},
      {"window = \"1d\"", "24h"},
      {"window = \"90m\"", "90m"},
      {"window = \"7d\"", "7d"},
      {"window = \"48h\"", "2d"},
      {"window = \"30s\"", "30s"},
      {"window = \"3600s\"", "1h"},
      {"window = \"day\"", "day UTC"},
      {"window = \"week\"", "week UTC"},
      {"window = \"month\"\ntimezone = \"Europe/Berlin\"", "month Europe/Berlin"},
  };
  for (const auto& [lines, text] : rows) {
    const auto limits = limits_of(kLimit + "usd = \"1\"\n" + lines + "\n");
    ASSERT_EQ(limits.size(), 1u) << lines;
    EXPECT_EQ(to_string(limits[0].window), text) << lines;
  }
}

TEST(ParseLimits, ReadsScopeAndWhatFollowsExcess) {
  const auto limits = limits_of(
      "[[policy.limit]]\nper = \"group\"\nusd = \"0.000000001\"\nwindow = \"1h\"\n"
      "on_exceed = \"warn\"\n" +
      kLimit + "tokens = 1\nwindow = \"1h\"\non_exceed = { model = \"gpt-5.4-mini\" }\n" + kLimit +
      "tokens = 2\nwindow = \"2h\"\non_exceed = \"refuse\"\n" + kLimit +
      "concurrent = 9\non_exceed = \"warn\"\n");
  ASSERT_EQ(limits.size(), 4u);
  EXPECT_EQ(limits[0].per, LimitScope::group);
  EXPECT_EQ(limits[0].amount, 1);
  EXPECT_EQ(limits[0].on_exceed, OnExceed::warn);
  EXPECT_EQ(limits[1].on_exceed, OnExceed::downgrade);
  EXPECT_EQ(limits[1].downgrade_model, "gpt-5.4-mini");
  EXPECT_EQ(limits[2].on_exceed, OnExceed::refuse);
  EXPECT_EQ(limits[3].on_exceed, OnExceed::warn);
}

TEST(ParseLimits, BelongToThePolicyAboveThem) {
  const std::string other = replaced(kRule, "\"p\"", "\"q\"");
  const auto parsed = parse_config(kMinimal + kLimit + "concurrent = 1\n" + other + kLimit +
                                   "concurrent = 1\n" + kLimit + "requests = 1\nwindow = \"1m\"\n");
  const auto& config = std::get<Config>(parsed);
  EXPECT_EQ(config.rules[0].limits.size(), 1u);
  EXPECT_EQ(config.rules[1].limits.size(), 2u);
}

TEST(ParseLimits, ADowngradeMayUseAnotherPolicyOfTheSameGroups) {
  const std::string cheap =
      replaced(replaced(kRule, "\"p\"", "\"cheap\""), "gpt-5.*", "gpt-6-luna");
  const std::string limit =
      kLimit + "usd = \"1\"\nwindow = \"1h\"\non_exceed = { model = \"gpt-6-luna\" }\n";
  EXPECT_EQ(told(kMinimal + limit + cheap), "");
  EXPECT_EQ(told(kMinimal + cheap + limit), "");
  const std::string ops = "[[group]]\nname = \"ops\"\nmembers = []\n";
  EXPECT_NE(told(kMinimal + limit + ops + replaced(cheap, "\"eng\"", "\"ops\""))
                .find("no policy gives group \"eng\" the model \"gpt-6-luna\""),
            std::string::npos);
  const std::string both =
      replaced(kGateway + kProvider + kGroup + ops + kRule, "[\"eng\"]", "[\"eng\", \"ops\"]");
  EXPECT_NE(told(both + limit + cheap).find("no policy gives group \"ops\""), std::string::npos);
}

TEST(ParseLimits, SaysLineKeyAndRemedyOfEachMistake) {
  struct Row {
    const char* description;
    std::string lines;
    const char* says;
  };
  const auto window = [](const std::string& text) {
    return kLimit + "usd = \"1\"\nwindow = \"" + text + "\"\n";
  };
  const std::string hour = "usd = \"1\"\nwindow = \"1h\"\n";
  const Row rows[] = {
      {"no scope", "[[policy.limit]]\n" + hour,
       "f:18: policy[0].limit[0].per: is missing; write per = \"user\" or \"group\""},
      {"unknown scope", "[[policy.limit]]\nper = \"team\"\n" + hour,
       "limit[0].per: \"team\" is no choice; write \"user\" or \"group\""},
      {"no amount", kLimit + "window = \"1h\"\n", "policy[0].limit[0]: limits nothing"},
      {"usd as a number", kLimit + "usd = 25\nwindow = \"1h\"\n",
       "limit[0].usd: is a number, not a text; write it in double quotes"},
      {"usd as a fraction", kLimit + "usd = 25.5\nwindow = \"1h\"\n",
       "limit[0].usd: is a fraction, not a text"},
      {"usd of zero", kLimit + "usd = \"0.00\"\nwindow = \"1h\"\n", "is no amount above 0"},
      {"negative usd", kLimit + "usd = \"-1\"\nwindow = \"1h\"\n", "is no amount above 0"},
      {"usd with a sign", kLimit + "usd = \"$5\"\nwindow = \"1h\"\n", "write it like \"25.00\""},
      {"usd out of range", kLimit + "usd = \"9999999999999\"\nwindow = \"1h\"\n", "limit[0].usd"},
      {"tokens as text", kLimit + "tokens = \"5\"\nwindow = \"1h\"\n", "not a whole number"},
      {"no tokens", kLimit + "tokens = 0\nwindow = \"1h\"\n", "limit[0].tokens: 0 is out of range"},
      {"negative requests", kLimit + "requests = -1\nwindow = \"1h\"\n", "limit[0].requests: -1"},
      {"nobody at once", kLimit + "concurrent = 0\n", "limit[0].concurrent: 0"},
      {"no window", kLimit + "usd = \"1\"\n", "limit[0].window: is missing"},
      {"no window beside concurrent", kLimit + "usd = \"1\"\nconcurrent = 1\n",
       "limit[0].window: is missing"},
      {"concurrent with a window", kLimit + "concurrent = 1\nwindow = \"1h\"\n",
       "limit[0].window: means nothing here"},
      {"concurrent with a timezone", kLimit + "concurrent = 1\ntimezone = \"UTC\"\n",
       "limit[0].timezone: means nothing here"},
      {"window as a number", kLimit + "usd = \"1\"\nwindow = 24\n", "limit[0].window: is a number"},
      {"empty window", window(""), "\"\" is no window"},
      {"window of zero", window("0h"), "\"0h\" is no window"},
      {"window with a leading zero", window("024h"), "is no window"},
      {"negative window", window("-1h"), "is no window"},
      {"window without a unit", window("24"), "is no window"},
      {"window without a number", window("h"), "is no window"},
      {"window with two letters", window("24hr"), "is no window"},
      {"window with a fraction", window("1.5h"), "is no window"},
      {"window with a space", window("24 h"), "is no window"},
      {"window of milliseconds", window("100ms"), "is no window"},
      {"a day too long", window("32d"), "\"1s\" to \"31d\""},
      {"a second too long", window("2678401s"), "is no window"},
      {"window that overflows", window("99999999999999999999d"), "is no window"},
      {"window that overflows in milliseconds", window("9223372036854775807d"), "is no window"},
      {"year", window("year"), "is no window"},
      {"timezone of a rolling window", kLimit + hour + "timezone = \"UTC\"\n",
       "limit[0].timezone: is for calendar windows"},
      {"timezone with a space", window("day") + "timezone = \"Europe Berlin\"\n", "no time zone"},
      {"timezone with dots", window("day") + "timezone = \"../../etc/passwd\"\n", "no time zone"},
      {"timezone as a path", window("day") + "timezone = \"/etc/localtime\"\n", "no time zone"},
      {"empty timezone", window("day") + "timezone = \"\"\n", "no time zone"},
      {"unknown outcome", kLimit + hour + "on_exceed = \"block\"\n",
       "limit[0].on_exceed: \"block\" is no choice; write \"refuse\" or \"warn\""},
      {"outcome of the wrong type", kLimit + hour + "on_exceed = 1\n",
       "limit[0].on_exceed: is a num"},
      {"downgrade without a model", kLimit + hour + "on_exceed = {}\n",
       "limit[0].on_exceed.model: is missing"},
      {"downgrade with another key", kLimit + hour + "on_exceed = { model = \"gpt-5.5\", x = 1 }\n",
       "limit[0].on_exceed.x: unknown key"},
      {"downgrade to a glob", kLimit + hour + "on_exceed = { model = \"gpt-5.*\" }\n",
       "is no model"},
      {"downgrade to what is not allowed",
       kLimit + hour + "on_exceed = { model = \"gpt-6-luna\" }\n",
       "f:22: policy[0].limit[0].on_exceed.model: no policy gives group \"eng\""},
      {"downgrade of concurrent", kLimit + "concurrent = 1\non_exceed = { model = \"gpt-5.5\" }\n",
       "limit[0].on_exceed: serves another model"},
      {"downgrade of concurrent among others",
       kLimit + hour + "concurrent = 1\non_exceed = { model = \"gpt-5.5\" }\n",
       "limit[0].on_exceed: serves another model"},
      {"misspelt amount", kLimit + "usdd = \"1\"\n" + hour, "did you mean usd?"},
      {"the same twice", kLimit + hour + kLimit + "window = \"60m\"\nusd = \"2\"\n",
       "policy[0].limit[1].usd: is limited twice"},
      {"concurrent twice", kLimit + "concurrent = 1\n" + kLimit + hour + "concurrent = 2\n",
       "policy[0].limit[1].concurrent: is limited twice"},
      {"limit as a table", "[policy.limit]\nper = \"user\"\n", "policy[0].limit: is a table"},
      {"unknown hold", "hold = \"loose\"\n", "policy[0].hold: \"loose\" is no choice"},
      {"hold of the wrong type", "hold = true\n", "policy[0].hold: is true or false, not a text"},
      {"no output", "max_output_tokens = 0\n", "from 1 to 10000000"},
      {"too much output", "max_output_tokens = 10000001\n", "from 1 to 10000000"},
      {"unknown abort", "on_client_abort = \"keep\"\n", "write \"cancel\" or \"drain\""},
  };
  for (const Row& row : rows) {
    const std::string all = told(kMinimal + row.lines);
    EXPECT_NE(all.find(row.says), std::string::npos) << row.description << ":\n" << all;
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 1) << row.description << ":\n" << all;
  }
}

TEST(ParseLimits, TheNearestThingsAreNoMistakes) {
  const std::pair<const char*, std::string> rows[] = {
      {"another scope", kLimit + "usd = \"1\"\nwindow = \"1h\"\n[[policy.limit]]\nper = \"group\"\n"
                                 "usd = \"1\"\nwindow = \"1h\"\n"},
      {"another window",
       kLimit + "usd = \"1\"\nwindow = \"1h\"\n" + kLimit + "usd = \"1\"\nwindow = \"2h\"\n"},
      {"another zone", kLimit + "usd = \"1\"\nwindow = \"day\"\n" + kLimit +
                           "usd = \"1\"\nwindow = \"day\"\ntimezone = \"Europe/Berlin\"\n"},
      {"a day, rolling and by calendar",
       kLimit + "usd = \"1\"\nwindow = \"day\"\n" + kLimit + "usd = \"1\"\nwindow = \"24h\"\n"},
      {"no limits", "limit = []\n"},
      {"all that a policy may say",
       "hold = \"typical\"\nmax_output_tokens = 10000000\non_client_abort = \"cancel\"\n"},
      {"the most of all", kLimit + "tokens = 9223372036854775807\nwindow = \"31d\"\n"},
  };
  for (const auto& [description, lines] : rows)
    EXPECT_EQ(told(kMinimal + lines), "") << description;
}

TEST(ParseRule, ReadsHoldCapAndAbort) {
  const auto parsed = parse_config(
      kMinimal + "hold = \"strict\"\nmax_output_tokens = 1\non_client_abort = \"drain\"\n");
  const Rule& rule = std::get<Config>(parsed).rules[0];
  EXPECT_EQ(rule.hold, HoldMode::strict);
  EXPECT_EQ(rule.max_output_tokens, 1u);
  EXPECT_EQ(rule.on_client_abort, OnClientAbort::drain);
  const auto plain = parse_config(kMinimal);
  const Rule& by_default = std::get<Config>(plain).rules[0];
  EXPECT_EQ(by_default.hold, HoldMode::typical);
  EXPECT_EQ(by_default.max_output_tokens, 0u);
  EXPECT_EQ(by_default.on_client_abort, OnClientAbort::cancel);
}

TEST(ParseAlerts, ReadsThresholdsAndWebhook) {
  struct Row {
    const char* lines;
    std::vector<uint32_t> thresholds;
    const char* webhook;
  };
  const Row rows[] = {
      {"", {75, 90, 100}, ""},
      {"[alerts]\n", {75, 90, 100}, ""},
      {"[alerts]\nthresholds = []\n", {}, ""},
      {"[alerts]\nthresholds = [1, 50, 1000]\n", {1, 50, 1000}, ""},
      {"[alerts]\nwebhook = \"https://a.example/b/c?d=e\"\n",
       {75, 90, 100},
       "https://a.example/b/c?d=e"},
      {"[alerts]\nwebhook = \"http://127.0.0.1:9/x\"\n", {75, 90, 100}, "http://127.0.0.1:9/x"},
      {"[alerts]\nwebhook = \"http://[::1]:9\"\n", {75, 90, 100}, "http://[::1]:9"},
  };
  for (const Row& row : rows) {
    const auto parsed = parse_config(kMinimal + row.lines);
    const auto* config = std::get_if<Config>(&parsed);
    ASSERT_NE(config, nullptr) << row.lines << told(kMinimal + row.lines);
    EXPECT_EQ(config->alerts.thresholds_percent, row.thresholds) << row.lines;
    EXPECT_EQ(config->alerts.webhook, row.webhook) << row.lines;
  }
}

TEST(ParseAlerts, SaysWhatIsWrongWithoutTheAddress) {
  const std::pair<const char*, const char*> rows[] = {
      {"thresholds = [90, 75]", "f:19: alerts.thresholds: does not ascend"},
      {"thresholds = [75, 75]", "alerts.thresholds: does not ascend"},
      {"thresholds = [0]", "alerts.thresholds[0]: is no whole number from 1 to 1000"},
      {"thresholds = [50, 1001]", "alerts.thresholds[1]: is no whole number"},
      {"thresholds = [-1]", "alerts.thresholds[0]: is no whole number"},
      {"thresholds = [75.5]", "alerts.thresholds[0]: is no whole number"},
      {"thresholds = 75", "alerts.thresholds: is a number, not a list of whole numbers"},
      {"webhook = \"http://a.example/hush\"", "alerts.webhook: would send alerts unencrypted"},
      {"webhook = \"ftp://a.example/hush\"", "alerts.webhook: is no URL"},
      {"webhook = \"https://a.example/hush#x\"", "alerts.webhook: is no URL"},
      {"webhook = \"https://a.example/?hush=a b\"", "alerts.webhook: is no URL"},
      {"webhook = \"https://hush@a.example/\"", "alerts.webhook: is no URL"},
      {"webhook = \"\"", "alerts.webhook: is no URL"},
      {"webhok = \"https://a.example\"", "did you mean webhook?"},
  };
  for (const auto& [line, says] : rows) {
    const std::string all = told(kMinimal + "[alerts]\n" + line + "\n");
    EXPECT_NE(all.find(says), std::string::npos) << line << ":\n" << all;
    EXPECT_EQ(all.find("hush"), std::string::npos) << all;
  }
}

}  // namespace
}  // namespace tollgate::policy
