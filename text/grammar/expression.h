// Regular expressions as the grammar engine can enforce them: parsed, checked and written again without anything that
// it ignores or reads in another way (anchors inside, lookahead, escapes it does not know, classes over Unicode).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace coppice::text {

enum class ExpressionUse : std::uint8_t {
  kText,        // the whole output has to match
  kJsonString,  // the inside of a JSON string, without characters that JSON writes with an escape
};

enum class ExpressionMatch : std::uint8_t {
  kWhole,   // `^` at the start and `$` at the end change nothing
  kSearch,  // a match anywhere, as JSON schema's `pattern`: unanchored sides take any characters
};

// A repetition's largest bound, and the largest size of an expression whose repetitions are written out: compile time
// and memory grow with it. In JSON strings the engine counts longer repetitions while it makes a mask, which then takes
// 40 ms for 150,000 tokens.
inline constexpr std::int64_t kJsonRepeatMax = 128;
inline constexpr std::int64_t kRepeatMax = 2000;
// A class with many letters, or with characters beyond ASCII, counts as this many others: its mask takes that much
// longer to make, about 10 ms for 150,000 tokens.
inline constexpr std::int64_t kWideClassSize = 10;
inline constexpr std::int64_t kExpressionSizeMax = 4000;  // characters and classes, repetitions written out

// Returns `pattern` (ECMAScript's syntax) as an expression of ASCII characters that matches the same whole texts; for
// kJsonString the same but those with a character that JSON has to escape.
// ERRORS: InvalidArgument names the construct that cannot be enforced; OutOfRange names the limit that is passed.
// `size`, where given: set to the expression's size.
absl::StatusOr<std::string> enforceable_expression(std::string_view pattern, ExpressionUse use, ExpressionMatch match,
                                                   std::int64_t* size = nullptr);

// Returns an expression for the inside of a JSON string without escapes that is none of `names`.
std::string expression_of_other_names(std::span<const std::string> names);

}  // namespace coppice::text
