// The inner lexer: names, numbers, strings and operators between the braces of one tag.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "text/jinja/lexer.h"

namespace coppice::text {

// What the end of a tag takes with it: one newline (trim_blocks), or nothing.
enum class Trim : std::uint8_t { kNone, kNewline };

// "\r\n" and "\r" become "\n".
std::string normalize_newlines(std::string_view text);

// Length of the tag end at the start of `rest` ("-%}" and whitespace, "+%}", "%}" and a newline), 0 when it is none.
std::size_t closing_length(std::string_view rest, std::string_view closing, Trim trim);

// Lexes one tag. Thread: one. The caller keeps the source alive.
class TagLexer {
 public:
  TagLexer(std::string_view source, std::size_t position, int line, std::string_view closing, Trim trim)
      : source_(source), position_(position), line_(line), closing_(closing), trim_(trim) {}

  // Appends the tag's tokens and stops at its end.
  absl::Status run(std::vector<Token>* tokens);
  std::size_t position() const { return position_; }
  int line() const { return line_; }

 private:
  void skip_space();
  absl::Status next_token(std::vector<Token>* tokens);
  bool number(std::vector<Token>* tokens, absl::Status* status);
  absl::Status integer(std::vector<Token>* tokens);
  absl::Status string(std::vector<Token>* tokens);
  absl::Status operation(std::vector<Token>* tokens);
  absl::Status balance(char bracket);
  std::size_t digits_end(std::size_t from) const;

  const std::string_view source_;
  std::size_t position_;
  int line_;
  const std::string_view closing_;
  const Trim trim_;
  std::string brackets_;  // the closing brackets still expected, innermost last
};

}  // namespace coppice::text
