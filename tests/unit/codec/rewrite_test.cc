#include "userspace/codec/rewrite.h"

#include <gtest/gtest.h>

#include "userspace/codec/responses.h"

namespace tollgate::codec {
namespace {

std::optional<std::string> rewrite(std::string_view json, std::vector<FieldChange> changes) {
  return rewrite_fields(json, changes);
}

TEST(Rewrite, ReplacesInPlaceOrInsertsFirst) {
  const FieldChange model{"model", "\"new\""};
  const FieldChange cap{"max_output_tokens", "32000"};
  const struct {
    const char* description;
    std::string json;
    std::vector<FieldChange> changes;
    std::string after;
  } cases[] = {
      {"a string", R"({"model":"old","a":1})", {model}, R"({"model":"new","a":1})"},
      {"a number, last",
       R"({"a":1,"max_output_tokens":9})",
       {cap},
       R"({"a":1,"max_output_tokens":32000})"},
      {"a number before white space",
       R"({"max_output_tokens":9 })",
       {cap},
       R"({"max_output_tokens":32000 })"},
      {"null",
       R"({"max_output_tokens":null,"a":1})",
       {cap},
       R"({"max_output_tokens":32000,"a":1})"},
      {"an object", R"({"model":{"model":[1,"}"]},"a":1})", {model}, R"({"model":"new","a":1})"},
      {"an array", R"({"model":[[],["]"]]})", {model}, R"({"model":"new"})"},
      {"an absent one", R"({"a":1})", {cap}, R"({"max_output_tokens":32000,"a":1})"},
      {"an absent one of an empty object", "{}", {cap}, R"({"max_output_tokens":32000})"},
      {"an absent one of an empty object with white space",
       " { }\n",
       {cap},
       " {\"max_output_tokens\":32000 }\n"},
      {"both absent, of an empty object",
       "{}",
       {model, cap},
       R"({"model":"new","max_output_tokens":32000})"},
      {"one there, one not",
       R"({"a":1,"model":"old"})",
       {cap, model},
       R"({"max_output_tokens":32000,"a":1,"model":"new"})"},
      {"both there, in the other order",
       R"({"max_output_tokens":1,"a":2,"model":"old"})",
       {model, cap},
       R"({"max_output_tokens":32000,"a":2,"model":"new"})"},
      {"nothing to do", R"( {"a" : 1} )", {}, R"( {"a" : 1} )"},
      {"key with a Unicode escape", R"({"mod\u0065l":"old"})", {model}, R"({"mod\u0065l":"new"})"},
      {"key of escapes alone",
       R"({"\u006d\u006F\u0064\u0065\u006C":"old"})",
       {model},
       R"({"\u006d\u006F\u0064\u0065\u006C":"new"})"},
      {"key with another escape is another",
       R"({"mode\u006d":1,"mod\nel":2,"model\\":3})",
       {model},
       R"({"model":"new","mode\u006d":1,"mod\nel":2,"model\\":3})"},
      {"longer and shorter keys are others",
       R"({"mode":1,"models":2,"Model":3})",
       {model},
       R"({"model":"new","mode":1,"models":2,"Model":3})"},
      {"nested key",
       R"({"a":{"model":"x"},"b":[{"model":"y"}],"model":"old"})",
       {model},
       R"({"a":{"model":"x"},"b":[{"model":"y"}],"model":"new"})"},
      {"nested key, none at the top",
       R"({"a":{"model":"x"}})",
       {model},
       R"({"model":"new","a":{"model":"x"}})"},
      {"key inside a string",
       R"({"a":"\",\"model\":\"x\"","model":"old"})",
       {model},
       R"({"a":"\",\"model\":\"x\"","model":"new"})"},
      {"value that ends with a backslash",
       R"({"a":"\\","model":"old\\\"","b":"\\\\"})",
       {model},
       R"({"a":"\\","model":"new","b":"\\\\"})"},
      {"brackets inside strings",
       R"({"a":["]}",{"b":"{["}],"model":"old"})",
       {model},
       R"({"a":["]}",{"b":"{["}],"model":"new"})"},
      {"Unicode",
       "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\",\"model\":\"\xc3\xb6\",\"z\":\"\\ud83d\\ude00\"}",
       {model},
       "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\",\"model\":\"new\",\"z\":\"\\ud83d\\ude00\"}"},
      {"white space everywhere",
       "\t{ \"a\"\r\n: [ 1 , { } ] ,\n\"model\" :\t\"old\" , \"b\" : -1.5e3 }\r\n",
       {model},
       "\t{ \"a\"\r\n: [ 1 , { } ] ,\n\"model\" :\t\"new\" , \"b\" : -1.5e3 }\r\n"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(rewrite(c.json, c.changes), c.after) << c.description;
}

TEST(Rewrite, ChangesAMemberOfAnObject) {
  const FieldChange effort{"reasoning.effort", "\"low\""};
  const FieldChange summary{"reasoning.summary", "null"};
  const struct {
    const char* description;
    std::string json;
    std::vector<FieldChange> changes;
    std::string after;
  } cases[] = {
      {"there",
       R"({"reasoning":{"summary":"auto", "effort" : "high" },"a":1})",
       {effort},
       R"({"reasoning":{"summary":"auto", "effort" : "low" },"a":1})"},
      {"absent from its object",
       R"({"a":1,"reasoning": {"summary":"auto"}})",
       {effort},
       R"({"a":1,"reasoning": {"effort":"low","summary":"auto"}})"},
      {"its object is empty",
       R"({"reasoning":{ },"a":1})",
       {effort},
       R"({"reasoning":{"effort":"low" },"a":1})"},
      {"no object", R"({"a":1})", {effort}, R"({"reasoning":{"effort":"low"},"a":1})"},
      {"null in place of the object",
       R"({"a":1,"reasoning" : null })",
       {effort},
       R"({"a":1,"reasoning" : {"effort":"low"} })"},
      {"a text in place of the object",
       R"({"reasoning":"{\"effort\":1}"})",
       {effort},
       R"({"reasoning":{"effort":"low"}})"},
      {"two members, one there",
       R"({"reasoning":{"effort":"high"}})",
       {effort, summary},
       R"({"reasoning":{"summary":null,"effort":"low"}})"},
      {"two members, no object",
       "{}",
       {effort, summary},
       R"({"reasoning":{"effort":"low","summary":null}})"},
      {"keys with escapes",
       R"({"re\u0061soning":{"\u0065ffort":"high"}})",
       {effort},
       R"({"re\u0061soning":{"\u0065ffort":"low"}})"},
      {"of that name at the top, in another object and deeper",
       R"({"effort":1,"text":{"effort":2},"reasoning":{"x":{"effort":3}}})",
       {effort},
       R"({"effort":1,"text":{"effort":2},"reasoning":{"effort":"low","x":{"effort":3}}})"},
      {"with a field of the top level",
       R"({"model":"old","reasoning":{"effort":"high"}})",
       {{"model", "\"new\""}, effort, {"store", "false"}},
       R"({"store":false,"model":"new","reasoning":{"effort":"low"}})"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(rewrite(c.json, c.changes), c.after) << c.description;
}

TEST(Rewrite, TakesMembersOut) {
  const FieldChange a = removal_of("a");
  const FieldChange b = removal_of("b");
  const struct {
    const char* description;
    std::string json;
    std::vector<FieldChange> changes;
    std::string after;
  } cases[] = {
      {"the first", R"({ "a" : {"b":[1]} , "b":2 })", {a}, R"({  "b":2 })"},
      {"one in between", R"({"x":1 , "a":"," , "y":2})", {a}, R"({"x":1  , "y":2})"},
      {"the last", R"({"x":1, "a":null })", {a}, R"({"x":1 })"},
      {"the only one", R"({ "a":1 })", {a}, R"({  })"},
      {"an absent one", R"({"x":{"a":1}})", {a}, R"({"x":{"a":1}})"},
      {"an absent one of an empty object", "{}", {a}, "{}"},
      {"the first two", R"({"a":1,"b":2,"x":3})", {a, b}, R"({"x":3})"},
      {"the last two", R"({"x":3,"b":2,"a":1})", {a, b}, R"({"x":3})"},
      {"all", R"({"b":2,"a":1})", {a, b}, "{}"},
      {"the first and the last", R"({"b":2,"x":3,"a":1})", {a, b}, R"({"x":3})"},
      {"all, and one is written", R"({"b":2,"a":1})", {a, b, {"m", "0"}}, R"({"m":0})"},
      {"one, and one is written", R"({"a":1,"x":2})", {a, {"m", "0"}}, R"({"m":0,"x":2})"},
      {"a member of an object", R"({"o":{"a":1,"x":2}})", {removal_of("o.a")}, R"({"o":{"x":2}})"},
      {"a member of what is no object", R"({"o":[1]})", {removal_of("o.a")}, R"({"o":[1]})"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(rewrite(c.json, c.changes), c.after) << c.description;
}

TEST(Rewrite, EditsWhatIsThereAsItIsWritten) {
  const auto quoted = [](std::string_view old) {
    return std::optional<std::string>('[' + std::string(old) + ']');
  };
  const FieldChange edit{"a", {}, quoted};
  EXPECT_EQ(rewrite(R"({"x":1,"a" : {"b" : "\u0061"} })", {edit}),
            R"({"x":1,"a" : [{"b" : "\u0061"}] })");
  EXPECT_EQ(rewrite(R"({"a":1.50,"x":1})", {edit}), R"({"a":[1.50],"x":1})");
  EXPECT_EQ(rewrite(R"({"x":1})", {edit}), R"({"x":1})");
}

TEST(Rewrite, RefusesWhatIsNoObject) {
  for (const char* json : {"", " ", "[]", "\"model\"", "1", "{", "{\"a\"", "{\"a\":", "{\"a\":1",
                           "{\"a\":1,", "{\"a\":1,}", "{\"a\":\"x}", "{\"a\":[1}", "{\"a\" 1}",
                           "{\"a\":}", "{} x", "{}{}", "{\"a\":\"\\\"}", "{\"a\":{\"b\":\"c}}"})
    EXPECT_EQ(rewrite(json, {{"model", "\"m\""}, {"a.b", "1"}, removal_of("x")}), std::nullopt)
        << json;
}

InspectResult inspect(std::string json) {
  BodyInspector inspector;
  const size_t size = json.size();
  json.resize(size + kJsonPaddingBytes);
  return inspector.inspect(std::as_bytes(std::span(json)).first(size));
}

// Takes the first of `part` out, which must be there.
std::string without(std::string text, const std::string& part) {
  const size_t at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  return at == std::string::npos ? text : text.erase(at, part.size());
}

TEST(Rewrite, GivesTheNewFactsAndKeepsEveryOtherByte) {
  const std::string rest =
      R"(, "stream" : true,"input":[{"model":"x","content":"\"max_output_tokens\":1"}] } )";
  const std::string wanted_model = "\"gpt-5.6-luna\"";
  const struct {
    const char* description;
    std::string json;
    std::string old_parts[2];
    std::string new_parts[2];
  } cases[] = {
      {"both replaced",
       R"({"max_output_tokens" : 128000 , "model": "gpt-5.5" )" + rest,
       {"128000", "\"gpt-5.5\""},
       {"32000", wanted_model}},
      {"cap inserted",
       R"({ "model": "gpt-5.5" )" + rest,
       {"", "\"gpt-5.5\""},
       {"\"max_output_tokens\":32000,", wanted_model}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.description);
    ASSERT_EQ(inspect(c.json).fault, BodyFault::none);
    const auto after = rewrite(c.json, {{"model", wanted_model}, {"max_output_tokens", "32000"}});
    ASSERT_TRUE(after);
    const auto result = inspect(*after);
    ASSERT_EQ(result.fault, BodyFault::none) << result.detail;
    EXPECT_EQ(result.facts.model, "gpt-5.6-luna");
    EXPECT_EQ(result.facts.max_output_tokens, 32000u);
    EXPECT_TRUE(result.facts.stream);
    std::string old_rest = c.json;
    std::string new_rest = *after;
    for (int i = 0; i < 2; ++i) {
      old_rest = without(old_rest, c.old_parts[i]);
      new_rest = without(new_rest, c.new_parts[i]);
    }
    EXPECT_EQ(new_rest, old_rest);
  }
}

}  // namespace
}  // namespace tollgate::codec
