// Reads the settings of a `tokenizer.model` that the sentencepiece library does not expose, from the file's bytes
// (protocol buffers wire format; messages ModelProto, NormalizerSpec and TrainerSpec of sentencepiece_model.proto).
#pragma once

#include <optional>
#include <string_view>

namespace coppice::text {

struct SentencePieceFlags {
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool whitespace_as_suffix = false;
  bool has_denormalizer = false;
};

// Returns the settings, or nullopt when the bytes are not a protocol buffer message.
std::optional<SentencePieceFlags> read_sentencepiece_flags(std::string_view serialized);

// Appended to a serialized model, these bytes switch its dummy prefix off: concatenated messages merge.
inline constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

}  // namespace coppice::text
