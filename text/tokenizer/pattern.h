// The patterns of tokenizer files (Oniguruma's Ruby syntax, Unicode 16) run through PCRE2's JIT compiler.
// Constructs that mean something else in PCRE2 are rewritten, or refused by name: a pattern is never run with another
// meaning than in Hugging Face `tokenizers`.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace coppice::text {

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// Rewrites an Oniguruma pattern to PCRE2 syntax. ERRORS: InvalidArgument naming the construct.
absl::StatusOr<std::string> translate_pattern(std::string_view oniguruma);

// A compiled pattern. Immutable; find_all may be called from any thread at once (working memory comes from a pool
// inside).
class Pattern {
 public:
  // ERRORS: InvalidArgument for what translate_pattern refuses and for malformed patterns.
  static absl::StatusOr<Pattern> compile(std::string_view oniguruma);
  // A pattern that matches exactly `literal`.
  static absl::StatusOr<Pattern> compile_literal(std::string_view literal);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // All matches in text[range], left to right, not overlapping; look-around sees only the range. Empty matches are
  // given as Oniguruma's find_iter does: never right behind the match before.
  // REQUIRES: `text` valid UTF-8, the range on character boundaries.
  // ERRORS: ResourceExhausted when matching takes too many steps.
  absl::Status find_all(std::string_view text, Span range, std::vector<Span>& matches) const;

 private:
  class Compiled;
  explicit Pattern(std::unique_ptr<Compiled> compiled);
  static absl::StatusOr<Pattern> compile_pcre(std::string_view pattern, std::uint32_t options);
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace coppice::text
