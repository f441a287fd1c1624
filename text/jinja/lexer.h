// Cuts a template into tokens: text, tags, and what stands inside tags. Follows jinja2's lexer with trim_blocks and
// lstrip_blocks on, including "-" and "+" whitespace control and comments.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace coppice::jinja {

enum class TokenKind : std::uint8_t {
  kText,
  kOutputBegin,
  kOutputEnd,
  kTagBegin,
  kTagEnd,
  kName,
  kString,
  kInteger,
  kReal,
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;  // the text, name, operator or string value
  std::int64_t integer = 0;
  double real = 0;
};

// All tokens of `source`, ended by kEnd. ERRORS: kInvalidArgument "chat template line N: what".
absl::StatusOr<std::vector<Token>> tokenize(std::string_view source);

// "chat template line N: what", as every error of the library is worded.
absl::Status error_at_line(int line, std::string_view message);

}  // namespace coppice::jinja
