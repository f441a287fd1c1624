// The check of a sentencepiece model's precompiled_charsmap, which the library walks at every character and trusts:
// an offset beyond its end, or more matches than it has room for, would be read from memory that is not the map's.
// charsmap.h says what the map is.
#pragma once

#include <string>
#include <string_view>

namespace coppice::text {

// What is wrong with a map in a few words, or "". An empty map is fine: text stays as it is.
std::string charsmap_problem(std::string_view charsmap);

}  // namespace coppice::text
