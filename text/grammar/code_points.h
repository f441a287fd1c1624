// Sets of Unicode characters, as a regular expression's classes need them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace coppice::text {

struct CodePointRange {
  char32_t first = 0;
  char32_t last = 0;  // included
};

// Ascending, apart, never with a surrogate: UTF-8 has none.
class CodePointSet {
 public:
  CodePointSet() = default;
  // Surrogates are left out. The ranges may come in any order and overlap.
  explicit CodePointSet(std::vector<CodePointRange> ranges);

  bool empty() const { return ranges_.empty(); }
  bool is_ascii() const { return empty() || ranges_.back().last < 0x80; }
  // Returns how many ASCII letters it has.
  std::size_t letters() const;
  // Returns the character of a set of one.
  std::optional<char32_t> only() const;
  CodePointSet complement() const;
  CodePointSet without(const CodePointSet& other) const;
  CodePointSet joined(const CodePointSet& other) const;

  // Returns the set as an expression of one character. All but letters and digits are written \u{HEX}, so it means the
  // same in every dialect that knows this escape. REQUIRES: not empty.
  std::string expression() const;

 private:
  std::vector<CodePointRange> ranges_;
};

}  // namespace coppice::text
