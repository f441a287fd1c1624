// Finds added tokens ("<|im_start|>") in a text before the model's own vocabulary sees it.
// Source: Hugging Face `tokenizers` added_vocabulary: leftmost, longest; single_word, lstrip and rstrip.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/types.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::text {

// A part of a text: an added token, or the text between two.
struct Section {
  std::size_t begin = 0;
  std::size_t end = 0;
  TokenId id = -1;  // -1: not an added token
};

// The ranges that lie in the section, counted from its begin. Cuts them off the front of `ranges`. REQUIRES: ascending;
// sections are asked for in order; no added token's section touches a range.
void take_ranges(std::span<const TextRange>& ranges, const Section& section, std::vector<TextRange>& taken);

// A set of added tokens. Thread: any may call split() once all tokens are added.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher();

  // Adds `token`, found where `pattern` stands: its content, or the content normalised. The first token added for a
  // pattern stays. Ignores an empty pattern.
  void add(std::string_view pattern, const AddedToken& token);

  // Calls visit() with sections that cover the text in order, except the white space that a token strips; ends with its
  // first error. A list of them might have one for every byte.
  // with_special: whether special tokens are recognised. If not, a special token in the text is text, and no token that
  // overlaps it is found (as in Hugging Face with encode_special_tokens). plain: as EncodeOptions::plain.
  absl::Status split(std::string_view text, bool with_special, std::span<const TextRange> plain,
                     absl::FunctionRef<absl::Status(const Section&)> visit) const;

  bool empty() const { return tokens_.empty(); }

 private:
  struct Node {
    std::int32_t first_child = -1;
    std::int32_t next_sibling = -1;
    std::int32_t token = -1;  // in tokens_; -1: no pattern ends here
    char byte = 0;
  };

  std::int32_t child(std::int32_t node, char byte) const;
  // Returns the token of the longest pattern that begins at text[at] and sets `length`; -1 if there is none.
  std::int32_t longest_at(std::string_view text, std::size_t at, std::size_t& length) const;

  std::vector<Node> nodes_;
  std::vector<AddedToken> tokens_;
  std::array<bool, 256> begins_{};  // bytes that patterns begin with
};

}  // namespace coppice::text
