// Finding and replacing text in linear time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/heap.h"

namespace coppice::jinja {

// As std::string_view's find() and rfind(), but linear in the text whatever the needle.
std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from);
std::size_t find_last_text(std::string_view text, std::string_view needle);
// str.replace(): the first `count` occurrences, all when negative.
std::string replace_text(Heap& heap, std::string_view text, std::string_view old_text, std::string_view new_text,
                         std::int64_t count);
// str.splitlines().
std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends);
// str.strip(characters) at the left, the right or both ends.
std::string_view strip(std::string_view text, std::string_view characters, bool left, bool right);

}  // namespace coppice::jinja
