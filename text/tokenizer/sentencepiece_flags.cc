// A reader of the protocol buffers wire format, for the few fields needed.
#include "text/tokenizer/sentencepiece_flags.h"

#include <cstddef>
#include <cstdint>

namespace coppice::text {
namespace {

// Field numbers in sentencepiece_model.proto.
constexpr std::uint64_t kTrainerSpec = 2;
constexpr std::uint64_t kNormalizerSpec = 3;
constexpr std::uint64_t kDenormalizerSpec = 5;
constexpr std::uint64_t kTreatWhitespaceAsSuffix = 24;
constexpr std::uint64_t kPrecompiledCharsmap = 2;
constexpr std::uint64_t kAddDummyPrefix = 3;
constexpr std::uint64_t kRemoveExtraWhitespaces = 4;
constexpr std::uint64_t kEscapeWhitespaces = 5;

struct Field {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  // of a varint
  std::string_view bytes;   // of a length-delimited field
};

// Walks the fields of one message. Owner: the caller. Thread: one.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  // Returns the next field, or nullopt at the end and when the message is malformed (then failed() is true).
  std::optional<Field> next() {
    if (rest_.empty()) {
      return std::nullopt;
    }
    const std::uint64_t key = varint();
    Field field;
    field.number = key >> 3;
    switch (key & 7) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        failed_ = true;
        break;
    }
    return failed_ ? std::nullopt : std::optional<Field>(field);
  }

  bool failed() const { return failed_; }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) {
        break;
      }
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) {
        return value;
      }
    }
    failed_ = true;
    return 0;
  }

  std::string_view take(std::uint64_t length) {
    if (failed_ || length > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view bytes = rest_.substr(0, static_cast<std::size_t>(length));
    rest_.remove_prefix(static_cast<std::size_t>(length));
    return bytes;
  }

  std::string_view rest_;
  bool failed_ = false;
};

bool read_normalizer(std::string_view message, SentencePieceFlags& flags) {
  FieldReader reader(message);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == kAddDummyPrefix) {
      flags.add_dummy_prefix = field->value != 0;
    } else if (field->number == kRemoveExtraWhitespaces) {
      flags.remove_extra_whitespaces = field->value != 0;
    } else if (field->number == kEscapeWhitespaces) {
      flags.escape_whitespaces = field->value != 0;
    }
  }
  return !reader.failed();
}

bool read_trainer(std::string_view message, SentencePieceFlags& flags) {
  FieldReader reader(message);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == kTreatWhitespaceAsSuffix) {
      flags.whitespace_as_suffix = field->value != 0;
    }
  }
  return !reader.failed();
}

bool read_denormalizer(std::string_view message, SentencePieceFlags& flags) {
  FieldReader reader(message);
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == kPrecompiledCharsmap) {
      flags.has_denormalizer = !field->bytes.empty();
    }
  }
  return !reader.failed();
}

}  // namespace

std::optional<SentencePieceFlags> read_sentencepiece_flags(std::string_view serialized) {
  SentencePieceFlags flags;
  FieldReader reader(serialized);
  bool ok = true;
  while (const std::optional<Field> field = reader.next()) {
    if (field->number == kTrainerSpec) {
      ok = ok && read_trainer(field->bytes, flags);
    } else if (field->number == kNormalizerSpec) {
      ok = ok && read_normalizer(field->bytes, flags);
    } else if (field->number == kDenormalizerSpec) {
      ok = ok && read_denormalizer(field->bytes, flags);
    }
  }
  if (!ok || reader.failed()) {
    return std::nullopt;
  }
  return flags;
}

}  // namespace coppice::text
