// The "pre_tokenizer" of a tokenizer.json: cuts a text into the pieces that BPE encodes one by one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "text/tokenizer/growth.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"

namespace coppice::text {

// A text and its pieces: ascending ranges of it that are not empty and do not overlap.
struct CutText {
  std::string text;
  std::deque<Span> pieces;  // there may be one for every byte: no vector, which takes three times as much to grow
  bool at_start = true;     // the text begins where the user's text begins, not after an added token
};

// What a Split makes of a match of its pattern.
enum class SplitBehavior : std::uint8_t {
  kRemoved,
  kIsolated,
  kMergedWithPrevious,
  kMergedWithNext,
  kContiguous,
};

// A sequence of cutting steps, possibly empty. Thread: immutable; any may call cut().
class PreTokenizer {
 public:
  struct Split {
    Pattern pattern;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  // Replaces spaces by `replacement` and, by `prepend`, puts one before the text.
  enum class PrependScheme : std::uint8_t { kAlways, kFirst, kNever };
  struct Metaspace {
    std::string replacement;
    PrependScheme prepend = PrependScheme::kAlways;
    Pattern splitter;  // of `replacement`
    bool split = true;
  };
  // For byte-level models: puts a space before each piece that does not begin with one. Bytes are not turned into the
  // byte alphabet, because BpeModel takes raw bytes.
  struct PrefixSpace {};
  using Step = std::variant<Split, Metaspace, PrefixSpace>;

  PreTokenizer() = default;
  PreTokenizer(std::vector<Step> steps, bool byte_level) : steps_(std::move(steps)), byte_level_(byte_level) {}

  // Reads the member "pre_tokenizer"; null means one piece. Supports ByteLevel, Split, Digits, Metaspace, Sequence.
  // ERRORS: InvalidArgument naming what is not supported.
  static absl::StatusOr<PreTokenizer> from_json(const Json* json, std::string_view where);

  // Returns whether the pieces are encoded by a byte-level vocabulary.
  bool byte_level() const { return byte_level_; }

  // Takes a text's growth through the steps.
  void grow(Growth& growth) const;

  // Rewrites cut.text as the steps say and replaces cut.pieces by its pieces.
  // REQUIRES: valid UTF-8.
  // ERRORS: ResourceExhausted from a pattern.
  absl::Status cut(CutText& cut) const;

 private:
  std::vector<Step> steps_;
  bool byte_level_ = false;
};

// The pattern that ByteLevel splits by when use_regex is on (GPT-2).
extern const std::string_view kGpt2Pattern;

}  // namespace coppice::text
