// Characters that Unicode 15 and 16 added, by property: what Hugging Face's pattern library knows and PCRE2 10.42
// (Unicode 14) does not. translate_pattern adds them to `\p{...}`.
#pragma once

#include <optional>
#include <span>
#include <string_view>

namespace coppice::text {

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;
};

// The additions to a general category or script, possibly none; nothing for a property we do not know.
std::optional<std::span<const CodePointRange>> unicode_additions(std::string_view property);

}  // namespace coppice::text
