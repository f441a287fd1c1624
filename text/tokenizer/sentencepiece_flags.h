// The settings of a `tokenizer.model` that the sentencepiece library does not tell: read from the file's bytes
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

// Nothing when the bytes are no protocol buffer message.
std::optional<SentencePieceFlags> read_sentencepiece_flags(std::string_view serialized);

// Bytes that, put behind a serialized model, switch its dummy prefix off: messages that follow one another merge.
inline constexpr std::string_view kNoDummyPrefix("\x1A\x02\x18\x00", 4);

}  // namespace coppice::text
