// Bytes that nobody can foretell.
#pragma once

#include <cstddef>
#include <span>

namespace tollgate {

void fill_random(std::span<std::byte> bytes);  // at most 256, which come at once (getrandom(2))

}  // namespace tollgate
