// The settings of a `tokenizer.model` that the sentencepiece library does not tell: read from the file's bytes
// (protocol buffers wire format; messages ModelProto, NormalizerSpec and TrainerSpec of sentencepiece_model.proto).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace coppice::text {

struct SentencePieceFlags {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  bool has_denormalizer = false;
  bool is_bpe = false;                   // the library knows other algorithms too
  bool has_space_inside = false;         // a piece has a space behind another character
  std::string_view charsmap;             // of the normalizer; a part of the serialized model
  std::size_t user_defined_nesting = 0;  // most user-defined pieces that each begin the next
};

// Nothing when the bytes are no protocol buffer message.
std::optional<SentencePieceFlags> read_sentencepiece_flags(std::string_view serialized);

// The model with these settings, and no denormalizer, put behind it: messages that follow one another merge, and the
// last value counts. So the library surely sees the charsmap that was checked, however it reads the bytes before.
std::string with_settings(std::string_view serialized, std::string_view charsmap, bool dummy_prefix);

}  // namespace coppice::text
