// Runs the patterns of tokenizer files (Oniguruma's Ruby syntax, Unicode 16) with PCRE2's JIT compiler.
// Constructs with another meaning in PCRE2 are rewritten or refused by name, so that every pattern matches as in
// Hugging Face `tokenizers`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace coppice::text {

// Bytes of a text. As small as texts allow (kEncodeBytesMax): there may be one for every byte.
struct Span {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  std::size_t size() const { return end - begin; }
};

// Returns an Oniguruma pattern in PCRE2 syntax.
// ERRORS: InvalidArgument naming a construct that is not supported.
absl::StatusOr<std::string> translate_pattern(std::string_view oniguruma);

// A compiled pattern. Thread: immutable; any number may call find_all() at once (working memory comes from a pool).
class Pattern {
 public:
  // ERRORS: InvalidArgument for a malformed pattern and for what translate_pattern() refuses.
  static absl::StatusOr<Pattern> compile(std::string_view oniguruma);
  // Returns a pattern that matches exactly `literal`.
  static absl::StatusOr<Pattern> compile_literal(std::string_view literal);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // All that this matches; empty for a pattern that is no literal.
  const std::string& literal() const { return literal_; }
  // Returns what a match has at least.
  std::size_t bytes_min() const;

  // Calls visit() with the matches in text[range], left to right, not overlapping. Look-around sees only the range. As
  // in Oniguruma's find_iter, no empty match directly follows another match. REQUIRES: valid UTF-8, the range on
  // character boundaries. ERRORS: ResourceExhausted beyond PCRE2's match limit.
  absl::Status for_each(std::string_view text, Span range, absl::FunctionRef<void(Span match)> visit) const;
  // The same: sets `matches`.
  absl::Status find_all(std::string_view text, Span range, std::vector<Span>& matches) const;

 private:
  class Compiled;
  explicit Pattern(std::unique_ptr<Compiled> compiled);
  static absl::StatusOr<Pattern> compile_pcre(std::string_view pattern, std::uint32_t options);
  std::unique_ptr<Compiled> compiled_;
  std::string literal_;
};

}  // namespace coppice::text
