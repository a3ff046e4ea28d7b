#include "userspace/admin/protocol.h"

#include <gtest/gtest.h>

namespace tollgate::admin {
namespace {

TEST(ParseRequest, AcceptsWhatAVerbTakesAndRefusesItsNeighbour) {
  struct Case {
    const char* description;
    std::string line;
    const char* refused_with;  // nullptr: accepted
  };
  const Case cases[] = {
      {"bare verb", R"({"v":1,"verb":"status"})", nullptr},
      {"id and empty args", R"({"v":1,"id":7,"verb":"status","args":{}})", nullptr},
      {"white space", " { \"v\" : 1 , \"verb\" : \"peers\" } \r", nullptr},
      {"all of usage",
       R"({"v":1,"verb":"usage","args":{"by":"day","since_unix_ms":1,"until_unix_ms":2,)"
       R"("user":"a","model":"m"}})",
       nullptr},
      {"records", R"({"v":1,"verb":"records","args":{"since_unix_ms":0}})", nullptr},
      {"explain", R"({"v":1,"verb":"explain","args":{"user":"a"}})", nullptr},
      {"empty", "", "bad_request"},
      {"no JSON", "status", "bad_request"},
      {"an array", "[1]", "bad_request"},
      {"two values", R"({"v":1,"verb":"status"}{})", "bad_request"},
      {"no version", R"({"verb":"status"})", "bad_request"},
      {"another version", R"({"v":2,"verb":"status"})", "bad_request"},
      {"version as a float", R"({"v":1.0,"verb":"status"})", "bad_request"},
      {"version as text", R"({"v":"1","verb":"status"})", "bad_request"},
      {"id as text", R"({"v":1,"id":"x","verb":"status"})", "bad_request"},
      {"no verb", R"({"v":1})", "bad_request"},
      {"verb of another kind", R"({"v":1,"verb":1})", "bad_request"},
      {"unknown verb", R"({"v":1,"verb":"stop"})", "unknown_verb"},
      {"verb in capitals", R"({"v":1,"verb":"Status"})", "unknown_verb"},
      {"unknown field", R"({"v":1,"verb":"status","uid":0})", "bad_request"},
      {"duplicate key", R"({"v":1,"verb":"status","verb":"reload"})", "bad_request"},
      {"duplicate argument", R"({"v":1,"verb":"explain","args":{"user":"a","user":"b"}})",
       "bad_request"},
      {"misspelt argument", R"({"v":1,"verb":"usage","args":{"sicne_unix_ms":1}})", "bad_request"},
      {"argument of another verb", R"({"v":1,"verb":"records","args":{"by":"day"}})",
       "bad_request"},
      {"args as an array", R"({"v":1,"verb":"usage","args":[]})", "bad_request"},
      {"unknown key", R"({"v":1,"verb":"usage","args":{"by":"peer"}})", "bad_request"},
      {"negative time", R"({"v":1,"verb":"usage","args":{"since_unix_ms":-1}})", "bad_request"},
      {"time over 63 bits",
       R"({"v":1,"verb":"usage","args":{"since_unix_ms":9223372036854775808}})", "bad_request"},
      {"window without length",
       R"({"v":1,"verb":"usage","args":{"since_unix_ms":5,"until_unix_ms":5}})", "bad_request"},
      {"empty user", R"({"v":1,"verb":"usage","args":{"user":""}})", "bad_request"},
      {"user of another kind", R"({"v":1,"verb":"usage","args":{"user":null}})", "bad_request"},
      {"longest user", R"({"v":1,"verb":"usage","args":{"user":")" + std::string(512, 'a') + "\"}}",
       nullptr},
      {"user too long",
       R"({"v":1,"verb":"usage","args":{"user":")" + std::string(513, 'a') + "\"}}", "bad_request"},
      {"explain without a user", R"({"v":1,"verb":"explain","args":{"model":"m"}})", "bad_request"},
      {"text that is not UTF-8", "{\"v\":1,\"verb\":\"usage\",\"args\":{\"user\":\"\xff\"}}",
       "bad_request"},
      {"deeply nested", std::string(60'000, '['), "bad_request"},
  };
  for (const Case& test : cases) {
    const ParsedRequest parsed = parse_request(test.line);
    const Failure* failure = std::get_if<Failure>(&parsed.outcome);
    if (test.refused_with == nullptr) {
      EXPECT_EQ(failure, nullptr) << test.description << ": " << (failure ? failure->text : "");
    } else {
      ASSERT_NE(failure, nullptr) << test.description;
      EXPECT_EQ(to_string(failure->code), test.refused_with) << test.description;
    }
  }
}

TEST(ParseRequest, GivesBackTheIdOfARefusedRequest) {
  EXPECT_EQ(parse_request(R"({"v":1,"id":42,"verb":"stop"})").id, 42);
}

TEST(Answers, CarryWhateverAClientSent) {
  const std::string line = item_line(3, {{"model", "a\x1b[2J\xff\n\u00e9"}});
  EXPECT_EQ(line, "{\"id\":3,\"item\":{\"model\":\"a\\u001b[2J\\ufffd\\n\\u00e9\"},\"v\":1}\n");
  EXPECT_EQ(line.find('\n'), line.size() - 1);
}

TEST(Answers, AreReadBackByTheOtherEnd) {
  EXPECT_EQ(parse_answer(ok_line({}, {{"a", 1}}))->body, (nlohmann::json{{"a", 1}}));
  EXPECT_EQ(parse_answer(item_line({}, "x"))->kind, Answer::Kind::item);
  EXPECT_EQ(parse_answer(lost_line({}, 9))->lost, 9u);
  const auto error = parse_answer(error_line({}, {ErrorCode::forbidden, "no", "ask"}));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->failure.code, ErrorCode::forbidden);
  EXPECT_EQ(error->failure.hint, "ask");
  for (const char* line : {"", "{}", "[]", R"({"v":2,"ok":true})", R"({"v":1})",
                           R"({"v":1,"ok":1})", R"({"v":1,"lost":-1})"}) {
    EXPECT_FALSE(parse_answer(line)) << line;
  }
}

}  // namespace
}  // namespace tollgate::admin
