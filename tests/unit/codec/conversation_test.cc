#include "userspace/codec/conversation.h"

#include <gtest/gtest.h>

namespace tollgate::codec {
namespace {

TEST(Conversation, ItemsOfAMessageStandAsTheyWereSent) {
  EXPECT_EQ(input_items(R"({"model":"m","input":[ {"a":"]"} , {"b":[1,{}]} ]})"),
            R"({"a":"]"} , {"b":[1,{}]})");
  EXPECT_EQ(input_items(R"({"input":[]})"), "");
  EXPECT_EQ(input_items(R"({"model":"m"})"), "");
  EXPECT_EQ(input_items(R"({"input":null})"), "");
  EXPECT_EQ(input_items(R"({"input":"hi \"you\""})"),
            R"({"type":"message","role":"user","content":"hi \"you\""})");
}

TEST(Conversation, RequestHasAllItemsAndNothingOfTheWebSocket) {
  EXPECT_EQ(compose_request(R"({"type":"response.create","model":"m","x": {"type":1},)"
                            R"("previous_response_id":"r","generate":true,"input":[{"n":2}]})",
                            R"({"n":1},{"n":2})"),
            R"({"model":"m","x":{"type":1},"stream":true,"input":[{"n":1},{"n":2}]})");
  // A key that is spelt with escapes is the same key.
  EXPECT_EQ(compose_request(R"({"inp\u0075t":[],"model":"m"})", ""),
            R"({"model":"m","stream":true,"input":[]})");
  EXPECT_EQ(compose_request("[]", ""), std::nullopt);
}

TEST(Conversation, FinishedItemIsThatOfItsEventAlone) {
  EXPECT_EQ(
      finished_item(R"({"type":"response.output_item.done","output_index":0,"item":{"a":1}})"),
      R"({"a":1})");
  EXPECT_EQ(finished_item(R"({"item":{"a":1},"type":"response.output_item.done"})"), R"({"a":1})");
  EXPECT_EQ(finished_item(R"({"type":"response.output_item.added","item":{"a":1}})"), std::nullopt);
  EXPECT_EQ(finished_item(R"({"type":"other","t":"response.output_item.done","item":{"a":1}})"),
            std::nullopt);
  EXPECT_EQ(finished_item(R"({"type":"response.output_item.done","item":null})"), std::nullopt);
}

TEST(Conversation, ItemsAreJoinedByOneComma) {
  std::string items;
  append_items(items, "");
  EXPECT_EQ(items, "");
  append_items(items, "{}");
  append_items(items, "{},{}");
  append_items(items, "");
  EXPECT_EQ(items, "{},{},{}");
}

}  // namespace
}  // namespace tollgate::codec
