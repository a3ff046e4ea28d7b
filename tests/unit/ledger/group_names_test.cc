#include "userspace/ledger/group_names.h"

#include <gtest/gtest.h>

#include "userspace/ledger/sqlite.h"

namespace tollgate::ledger {
namespace {

using Names = std::vector<std::string>;

std::string json_of(const Names& names) {
  std::string json;
  append_group_names(names, json);
  return json;
}

TEST(GroupNames, RoundTripAndAreWhatSqliteReads) {
  auto db = Database::open(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
  ASSERT_TRUE(db);
  auto each = db->prepare("SELECT value FROM json_each(?1)");
  ASSERT_TRUE(each) << each.error().text;
  for (const Names& names :
       {Names{}, Names{"a"}, Names{"engineering", "on-call"}, Names{""}, Names{"", "x"},
        Names{"q\"uote", "back\\slash", "both\\\"", "\\u0041"}, Names{"comma,", "[bracket]", "\","},
        Names{"line\nbreak", "tab\t", "\x01\x1f"}, Names{"Ünïcödé €", "\xf0\x9f\x98\x80"}}) {
    const std::string json = json_of(names);
    Names parsed = {"stale"};
    ASSERT_TRUE(parse_group_names(json, parsed)) << json;
    EXPECT_EQ(parsed, names) << json;

    Names seen;
    each->bind(1, std::string_view(json));
    for (auto row = each->step(); row && *row; row = each->step())
      seen.emplace_back(each->text(0));
    each->reset();
    EXPECT_EQ(seen, names) << json;
  }
}

TEST(GroupNames, ARepeatedNameIsWrittenOnce) {
  EXPECT_EQ(json_of({"a", "b", "a", "a", "b"}), R"(["a","b"])");
  EXPECT_EQ(json_of({"a", "a"}), R"(["a"])");
}

TEST(GroupNames, RefusesWhatItDoesNotWrite) {
  for (const char* bad : {"", "[", "]", "[]]", "[\"]", "[\"a\"", "[\"a\",]", "[\"a\"\"b\"]",
                          "[,\"a\"]", "[ \"a\"]", "[\"a\"] ", "{\"a\":1}", "[1]", "null",
                          "[\"\\n\"]", "[\"\\u0141\"]", "[\"\\u00\"]", "[\"\\u00g0\"]", "[\"\\"}) {
    Names parsed;
    EXPECT_FALSE(parse_group_names(bad, parsed)) << bad;
  }
}

}  // namespace
}  // namespace tollgate::ledger
