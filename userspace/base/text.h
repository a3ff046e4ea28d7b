// Text from strangers on its way to a log or a sentence.
#pragma once

#include <string>
#include <string_view>

namespace tollgate {

// Visible ASCII but the double quote stays; every other byte becomes '?', so that a name cannot
// forge a log line or a terminal sequence.
std::string printable(std::string_view text);

}  // namespace tollgate
