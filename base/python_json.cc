// One walk over the text.
#include "base/python_json.h"

#include <algorithm>
#include <array>

namespace coppice::base {
namespace {

constexpr std::array<std::string_view, 3> kNumbers = {"NaN", "Infinity", "-Infinity"};
constexpr std::string_view kNull = "null";

bool is_part_of_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || c == '+';
}

// The length of the number that is all of the word at `at`; 0: there is none.
std::size_t number_at(std::string_view text, std::size_t at) {
  for (const std::string_view number : kNumbers) {
    const std::size_t end = at + number.size();
    if (text.substr(at).starts_with(number) && (end == text.size() || !is_part_of_word(text[end]))) {
      return number.size();
    }
  }
  return 0;
}

}  // namespace

std::string without_python_numbers(std::string_view text, std::size_t& count) {
  std::string out;
  out.reserve(text.size());
  count = 0;
  bool in_string = false;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (in_string && c == '\\') {
      out += text.substr(at, 2);
      at += 2;
      continue;
    }
    in_string = in_string != (c == '"');
    const bool begins_word = at == 0 || !is_part_of_word(text[at - 1]);
    const std::size_t length = begins_word && !in_string ? number_at(text, at) : 0;
    if (length > 0) {
      out += kNull;
      ++count;
    } else {
      out += c;
    }
    at += std::max<std::size_t>(length, 1);
  }
  return out;
}

}  // namespace coppice::base
