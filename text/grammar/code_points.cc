// Ranges of characters: sorted, joined and turned round.
#include "text/grammar/code_points.h"

#include <algorithm>

#include "base/check.h"

namespace coppice::text {
namespace {

constexpr char32_t kLast = 0x10FFFF;          // Unicode's last character
constexpr char32_t kFirstSurrogate = 0xD800;  // surrogates are halves of UTF-16, not characters
constexpr char32_t kLastSurrogate = 0xDFFF;   // the last of them

bool is_plain(char32_t character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9');
}

void append_character(std::string& out, char32_t character) {
  if (is_plain(character)) {
    out += static_cast<char>(character);
    return;
  }
  std::string digits;
  do {
    digits.insert(digits.begin(), "0123456789abcdef"[character % 16]);
    character /= 16;
  } while (character != 0);
  out += "\\u{" + digits + "}";
}

}  // namespace

CodePointSet::CodePointSet(std::vector<CodePointRange> ranges) {
  std::vector<CodePointRange> kept;
  for (const CodePointRange& range : ranges) {
    if (range.first < kFirstSurrogate) {
      kept.push_back({range.first, std::min(range.last, static_cast<char32_t>(kFirstSurrogate - 1))});
    }
    if (range.last > kLastSurrogate) {
      kept.push_back({std::max(range.first, static_cast<char32_t>(kLastSurrogate + 1)), range.last});
    }
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const CodePointRange& range : kept) {
    if (!ranges_.empty() && range.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, range.last);
    } else {
      ranges_.push_back(range);
    }
  }
}

std::size_t CodePointSet::letters() const {
  std::size_t count = 0;
  for (const CodePointRange& range : ranges_) {
    for (const CodePointRange letters : {CodePointRange{'A', 'Z'}, CodePointRange{'a', 'z'}}) {
      const char32_t first = std::max(range.first, letters.first);
      const char32_t last = std::min(range.last, letters.last);
      count += first <= last ? last - first + 1 : 0;
    }
  }
  return count;
}

std::optional<char32_t> CodePointSet::only() const {
  const bool is_one = ranges_.size() == 1 && ranges_[0].first == ranges_[0].last;
  return is_one ? std::optional<char32_t>(ranges_[0].first) : std::nullopt;
}

CodePointSet CodePointSet::complement() const {
  std::vector<CodePointRange> others;
  char32_t next = 0;
  for (const CodePointRange& range : ranges_) {
    if (range.first > next) {
      others.push_back({next, range.first - 1});
    }
    next = range.last + 1;
  }
  if (next <= kLast) {
    others.push_back({next, kLast});
  }
  return CodePointSet(std::move(others));
}

CodePointSet CodePointSet::joined(const CodePointSet& other) const {
  std::vector<CodePointRange> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CodePointSet(std::move(all));
}

CodePointSet CodePointSet::without(const CodePointSet& other) const {
  return complement().joined(other).complement();
}

std::string CodePointSet::expression() const {
  COPPICE_CHECK(!empty(), "no character to write");
  std::string out;
  if (const std::optional<char32_t> character = only()) {
    append_character(out, *character);
    return out;
  }
  out += '[';
  for (const CodePointRange& range : ranges_) {
    append_character(out, range.first);
    if (range.last != range.first) {
      out += '-';
      append_character(out, range.last);
    }
  }
  return out + ']';
}

}  // namespace coppice::text
