#include "userspace/codec/model_catalog.h"

#include <gtest/gtest.h>

namespace tollgate::codec {
namespace {

TEST(ModelCatalog, KeepsTheBytesOfEachEntryAndTheirOrder) {
  const std::string second = R"({ "slug":"gpt-b",
    "base_instructions":"a } ] \" \\ {", "priority": 1.50, "upgrade":null, "x":[{"slug":"no"}] })";
  const std::string first = R"({"display_name":"\u0041","slug":"gpt-\u0061"})";
  const auto entries =
      read_model_catalog("{\n \"etag\":1, \"models\" : [" + second + " ,\n" + first + " ]}\n", "f");
  ASSERT_TRUE(entries) << entries.error().text;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].slug, "gpt-b");
  EXPECT_EQ((*entries)[0].json, second);
  EXPECT_EQ((*entries)[1].slug, "gpt-a");
  EXPECT_EQ((*entries)[1].json, first);
}

TEST(ModelCatalog, SaysWhatIsWrongWithAFile) {
  const struct {
    const char* description;
    const char* json;
    const char* says;  // nullptr: nothing is wrong
  } rows[] = {
      {"one entry", R"({"models":[{"slug":"a"}]})", nullptr},
      {"nothing", "", "m.json"},
      {"no JSON", "{", "m.json"},
      {"broken inside an entry", R"({"models":[{"slug":"a","b":tru}]})", "m.json"},
      {"text behind it", R"({"models":[{"slug":"a"}]} x)", "m.json"},
      {"a list", R"([{"slug":"a"}])", "one list of \"models\""},
      {"OpenAI's list", R"({"object":"list","data":[{"id":"a"}]})", "one list of \"models\""},
      {"no model", R"({"models":[]})", "one list of \"models\""},
      {"two lists", R"({"models":[{"slug":"a"}],"models":[{"slug":"b"}]})", "one list"},
      {"an entry that is text", R"({"models":[{"slug":"a"},"b"]})", "models[1] is no object"},
      {"no slug", R"({"models":[{"slug":"a"},{"id":"b"}]})", "models[1] has no \"slug\""},
      {"a number as slug", R"({"models":[{"slug":1}]})", "models[0] has no \"slug\""},
      {"an empty slug", R"({"models":[{"slug":""}]})", "models[0] has no \"slug\""},
      {"a line break in it", R"({"models":[{"slug":"a\n"}]})", "models[0] has no \"slug\""},
      {"a key twice", R"({"models":[{"slug":"a","slug":"b"}]})", "models[0] has a key twice"},
      {"a model twice", R"({"models":[{"slug":"a"},{"slug":"\u0061"}]})", "\"a\" is there twice"},
  };
  for (const auto& row : rows) {
    const auto entries = read_model_catalog(row.json, "m.json");
    EXPECT_EQ(entries.has_value(), row.says == nullptr) << row.description;
    if (entries || row.says == nullptr) continue;
    EXPECT_NE(entries.error().text.find(row.says), std::string::npos) << entries.error().text;
    EXPECT_NE(entries.error().hint.find("codex debug models"), std::string::npos);
  }
}

TEST(ModelCatalog, RenamesAnEntryAndNothingElseInIt) {
  const CatalogEntry entry{"a",
                           R"({"priority":1, "slug" : "a","display_name":"A","x":{"slug":1}})"};
  EXPECT_EQ(rename_entry(entry, "auto"),
            R"({"priority":1, "slug" : "auto","display_name":"auto","x":{"slug":1}})");
}

}  // namespace
}  // namespace tollgate::codec
