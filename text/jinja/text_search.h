// Finding text in text, in time linear in their lengths: a template must not be able to buy quadratic work.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/jinja/heap.h"

namespace coppice::text {

// First place of `needle` in `text` at or after byte `from`; npos if there is none.
std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from);
// Last place of `needle` in `text`.
std::size_t find_last_text(std::string_view text, std::string_view needle);
// str.replace(old, new, count); count < 0 is every place. An empty `old_text` stands between all characters.
absl::StatusOr<std::string> replace_text(Heap& heap, std::string_view text, std::string_view old_text,
                                         std::string_view new_text, std::int64_t count);

}  // namespace coppice::text
