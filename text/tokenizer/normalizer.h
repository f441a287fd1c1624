// The "normalizer" of a tokenizer.json: rewrites a text before it is cut into pieces.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer/growth.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

// A sequence of text rewrites, possibly empty. Thread: immutable; any may call normalize().
class Normalizer {
 public:
  enum class UnicodeForm { kNfc, kNfd, kNfkc, kNfkd };
  struct Prepend {
    std::string prefix;
  };
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  using Step = std::variant<UnicodeForm, Prepend, Replace>;

  Normalizer() = default;
  explicit Normalizer(std::vector<Step> steps) : steps_(std::move(steps)) {}

  // Reads the member "normalizer"; null means no rewrites. Supports NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence.
  // ERRORS: InvalidArgument naming what is not supported.
  static absl::StatusOr<Normalizer> from_json(const Json* json, std::string_view where);

  bool empty() const { return steps_.empty(); }
  // Takes a text's growth through the steps.
  void grow(Growth& growth) const;

  // Returns the rewritten text.
  // REQUIRES: valid UTF-8.
  // ERRORS: ResourceExhausted from a pattern.
  absl::StatusOr<std::string> normalize(std::string_view text) const;
  // The same; `parts`, ascending and apart, become the parts of the result that they are rewritten to. Where that
  // cannot be said of each, they become one: the whole result.
  absl::StatusOr<std::string> normalize(std::string_view text, std::vector<TextRange>& parts) const;

 private:
  std::vector<Step> steps_;
};

}  // namespace coppice::text
