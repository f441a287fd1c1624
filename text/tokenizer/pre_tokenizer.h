// The "pre_tokenizer" of a tokenizer.json: cuts a text into the pieces that BPE works on, one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"

namespace coppice::text {

// A text and its pieces: ascending, not empty, not overlapping ranges of it.
struct CutText {
  std::string text;
  std::vector<Span> pieces;
  bool at_start = true;  // the text begins where the user's text begins (not behind a special token)
};

// What a Split does with the matches of its pattern.
enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// A sequence of cutting steps, maybe empty. Immutable after creation; any thread may call cut.
class PreTokenizer {
 public:
  struct Split {
    Pattern pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  // Spaces become `replacement`; one is put in front of the text.
  enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };
  struct Metaspace {
    std::string replacement;
    PrependScheme prepend = PrependScheme::kAlways;
    Pattern splitter;  // of `replacement`
    bool split = true;
  };
  // Byte-level models: a space in front of pieces that begin otherwise. (Turning bytes into the byte alphabet is left
  // out: BpeModel takes raw bytes.)
  struct PrefixSpace {};
  using Step = std::variant<Split, Metaspace, PrefixSpace>;

  PreTokenizer() = default;
  PreTokenizer(std::vector<Step> steps, bool byte_level) : steps_(std::move(steps)), byte_level_(byte_level) {}

  // From the member "pre_tokenizer"; null gives the empty one. Knows ByteLevel, Split, Digits, Metaspace, Sequence.
  // ERRORS: InvalidArgument naming what is not supported.
  static absl::StatusOr<PreTokenizer> from_json(const Json* json, std::string_view where);

  // Whether the pieces go to a byte-level vocabulary.
  bool byte_level() const { return byte_level_; }

  // Cuts cut.text, which is rewritten where a step says so; cut.pieces is replaced.
  // REQUIRES: valid UTF-8. ERRORS: ResourceExhausted from a pattern.
  absl::Status cut(CutText& cut) const;

 private:
  std::vector<Step> steps_;
  bool byte_level_ = false;
};

// The pattern that ByteLevel splits by when use_regex is on (GPT-2).
extern const std::string_view kGpt2Pattern;

}  // namespace coppice::text
