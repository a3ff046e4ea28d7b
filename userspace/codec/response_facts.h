// The facts of a parsed answer, whole or a chunk of one.
#pragma once

#include <string_view>

#include "userspace/codec/api.h"
#include "userspace/codec/json.h"
#include "userspace/codec/responses.h"

namespace tollgate::codec {

// Answers are read once per request and chunks are small, so their parser is made for the call and
// kept by nobody.
struct ParsedAnswer {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  bool valid = false;  // JSON, and an object

  explicit ParsedAnswer(std::string_view json);
};

ResponseFacts read_facts(const simdjson::dom::object& response, ResponseEnd end, Api api);

}  // namespace tollgate::codec
