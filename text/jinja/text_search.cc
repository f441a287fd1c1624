// memmem() is the C library's two-way search, linear where std::string_view::find() is not.
#include "text/jinja/text_search.h"

#include <algorithm>
#include <cstring>

#include "text/jinja/unicode.h"

namespace coppice::jinja {

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size() || needle.empty()) {
    return from > text.size() ? std::string_view::npos : from;
  }
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  return found == nullptr ? std::string_view::npos
                          : static_cast<std::size_t>(static_cast<const char*>(found) - text.data());
}

std::size_t find_last_text(std::string_view text, std::string_view needle) {
  const std::string reversed_text(text.rbegin(), text.rend());
  const std::string reversed_needle(needle.rbegin(), needle.rend());
  const std::size_t found = find_text(reversed_text, reversed_needle, 0);
  return found == std::string_view::npos ? found : text.size() - found - needle.size();
}

std::string replace_text(Heap& heap, std::string_view text, std::string_view old_text, std::string_view new_text,
                         std::int64_t count) {
  std::string result;
  std::size_t start = 0;
  std::size_t found = count == 0 ? std::string_view::npos : find_text(text, old_text, 0);
  while (found != std::string_view::npos && heap.budget().charge_text(found - start + new_text.size())) {
    result.append(text.substr(start, found - start)).append(new_text);
    start = found + old_text.size();
    // An empty text stands before every character and at the end.
    const std::size_t from = !old_text.empty()     ? start
                             : found < text.size() ? found + sequence_length(text[found])
                                                   : text.size() + 1;
    found = --count == 0 ? std::string_view::npos : find_text(text, old_text, from);
  }
  return result.append(text.substr(start));
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  std::size_t start = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t end = i;
    const std::uint32_t code = next_code_point(text, &i);
    if (is_line_break(code)) {
      i += code == '\r' && i < text.size() && text[i] == '\n' ? 1 : 0;
      lines.push_back(text.substr(start, (keep_ends ? i : end) - start));
      start = i;
    }
  }
  if (start < text.size()) {
    lines.push_back(text.substr(start));
  }
  return lines;
}

std::string_view strip(std::string_view text, std::string_view characters, bool left, bool right) {
  std::vector<std::uint32_t> set = decode_utf8(characters);
  std::sort(set.begin(), set.end());
  const auto in_set = [&](std::size_t position) {
    return std::binary_search(set.begin(), set.end(), next_code_point(text, &position));
  };
  while (left && !text.empty() && in_set(0)) {
    text.remove_prefix(sequence_length(text.front()));
  }
  while (right && !text.empty() && in_set(previous_start(text, text.size()))) {
    text = text.substr(0, previous_start(text, text.size()));
  }
  return text;
}

}  // namespace coppice::jinja
