// memmem() is the C library's two-way search, linear where std::string_view::find() is not.
#include "text/jinja/text_search.h"

#include <cstring>
#include <string>

#include "base/status_macros.h"
#include "text/jinja/unicode.h"

namespace coppice::text {

std::size_t find_text(std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size()) {
    return std::string_view::npos;
  }
  if (needle.empty()) {
    return from;
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

absl::StatusOr<std::string> replace_text(Heap& heap, std::string_view text, std::string_view old_text,
                                         std::string_view new_text, std::int64_t count) {
  COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(text.size()));
  std::string result;
  std::size_t start = 0;
  std::size_t search_from = 0;
  for (; count != 0; count -= count > 0 ? 1 : 0) {
    const std::size_t found = find_text(text, old_text, search_from);
    if (found == std::string_view::npos) {
      break;
    }
    COPPICE_RETURN_IF_ERROR(heap.budget().charge_text(new_text.size()));
    result += text.substr(start, found - start);
    result += new_text;
    start = found + old_text.size();
    search_from = start;
    if (old_text.empty()) {
      if (found >= text.size()) {
        break;
      }
      search_from += sequence_length(text[found]);
    }
  }
  result += text.substr(start);
  return result;
}

}  // namespace coppice::text
