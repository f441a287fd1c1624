// The "decoder" of a tokenizer.json: turns one piece of the vocabulary into bytes, and holds the rules that span
// tokens.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "text/tokenizer/json_access.h"
#include "text/tokenizer/pattern.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::text {

// A sequence of decoding steps. Decodes each piece once, when a tokenizer is loaded. Thread: immutable after
// from_json().
class PieceDecoder {
 public:
  struct Replace {
    Pattern pattern;
    std::string content;
  };
  struct StripEach {  // from every token
    std::string unit;
    std::int64_t start;
    std::int64_t stop;
  };
  struct Metaspace {
    std::string replacement;
    bool dropped_in_first;
  };
  struct ByteLevel {};
  struct ByteFallback {};
  using Step = std::variant<Replace, StripEach, Metaspace, ByteLevel, ByteFallback>;

  struct Decoded {
    TokenForm form = TokenForm::kText;
    std::string bytes;
  };

  // Reads the member "decoder". Supports ByteLevel, Replace, Metaspace, ByteFallback, Fuse, Strip, Sequence, in orders
  // whose meaning is known.
  // ERRORS: InvalidArgument naming what is not supported.
  static absl::StatusOr<PieceDecoder> from_json(const Json* json, std::string_view where);

  // Returns the bytes of `piece`, as the first token of a text or as a later one.
  // ERRORS: ResourceExhausted from a pattern.
  absl::StatusOr<Decoded> decode(std::string_view piece, bool is_first) const;

  // Returns whether decode() depends on is_first.
  bool first_differs() const;

  const DecodeRules& rules() const { return rules_; }

 private:
  std::vector<Step> steps_;
  DecodeRules rules_;

  class Reader;
};

}  // namespace coppice::text
