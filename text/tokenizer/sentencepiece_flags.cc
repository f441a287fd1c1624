// A reader of protocol buffers' wire format, of just enough fields. It understands no more than the library does: a
// field of the wrong wire type is none, and what it cannot follow is no model.
#include "text/tokenizer/sentencepiece_flags.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace coppice::text {
namespace {

// Numbers of sentencepiece_model.proto.
constexpr std::uint64_t kPieces = 1;
constexpr std::uint64_t kTrainerSpec = 2;
constexpr std::uint64_t kNormalizerSpec = 3;
constexpr std::uint64_t kDenormalizerSpec = 5;
constexpr std::uint64_t kTreatWhitespaceAsSuffix = 24;
constexpr std::uint64_t kModelType = 3;
constexpr std::uint64_t kBpe = 2;  // value of the model's type
constexpr std::uint64_t kPrecompiledCharsmap = 2;
constexpr std::uint64_t kAddDummyPrefix = 3;
constexpr std::uint64_t kRemoveExtraWhitespaces = 4;
constexpr std::uint64_t kEscapeWhitespaces = 5;
constexpr std::uint64_t kPieceText = 1;
constexpr std::uint64_t kPieceType = 3;
constexpr std::uint64_t kUserDefined = 4;       // value of a piece's type
constexpr std::uint64_t kKeyMax = 0xFFFFFFFFU;  // a key has 32 bits

constexpr std::string_view kMetaspace = "\xE2\x96\x81";  // "▁": a space in a piece

enum class Wire : std::uint8_t { kVarint = 0, kEightBytes = 1, kBytes = 2, kFourBytes = 5 };

struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::kVarint;
  std::uint64_t value = 0;  // of a varint
  std::string_view bytes;   // of a length-delimited field

  bool is_varint(std::uint64_t wanted) const { return number == wanted && wire == Wire::kVarint; }
  bool is_bytes(std::uint64_t wanted) const { return number == wanted && wire == Wire::kBytes; }
};

// Goes through the fields of one message. Owned by the caller; one thread.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  // The next field; nothing at the end or when malformed (then failed()).
  std::optional<Field> next() {
    if (rest_.empty()) {
      return std::nullopt;
    }
    const std::uint64_t key = varint();
    Field field;
    field.number = key >> 3;
    field.wire = static_cast<Wire>(key & 7);
    failed_ = failed_ || key > kKeyMax || field.number == 0;
    switch (field.wire) {
      case Wire::kVarint:
        field.value = varint();
        break;
      case Wire::kEightBytes:
        take(8);
        break;
      case Wire::kBytes:
        field.bytes = take(varint());
        break;
      case Wire::kFourBytes:
        take(4);
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
    if (field->is_varint(kAddDummyPrefix)) {
      flags.add_dummy_prefix = field->value != 0;
    } else if (field->is_varint(kRemoveExtraWhitespaces)) {
      flags.remove_extra_whitespaces = field->value != 0;
    } else if (field->is_varint(kEscapeWhitespaces)) {
      flags.escape_whitespaces = field->value != 0;
    } else if (field->is_bytes(kPrecompiledCharsmap)) {
      flags.charsmap = field->bytes;
    }
  }
  return !reader.failed();
}

// A space, written either way, behind a character that is none.
bool has_space_inside(std::string_view piece) {
  bool is_behind = false;
  while (!piece.empty()) {
    const bool is_space = piece.starts_with(' ') || piece.starts_with(kMetaspace);
    if (is_space && is_behind) {
      return true;
    }
    is_behind = !is_space;
    piece.remove_prefix(piece.starts_with(kMetaspace) ? kMetaspace.size() : 1);
  }
  return false;
}

// Adds the piece's text to `user_defined` if it is one.
bool read_piece(std::string_view message, SentencePieceFlags& flags, std::vector<std::string_view>& user_defined) {
  FieldReader reader(message);
  std::string_view text;
  std::uint64_t type = 0;
  while (const std::optional<Field> field = reader.next()) {
    if (field->is_bytes(kPieceText)) {
      text = field->bytes;
    } else if (field->is_varint(kPieceType)) {
      type = field->value & 0xFFFFFFFFU;  // as the library takes it
    }
  }
  if (type == kUserDefined) {
    user_defined.push_back(text);
  }
  flags.has_space_inside = flags.has_space_inside || has_space_inside(text);
  return !reader.failed();
}

// The longest chain of texts each of which begins the next.
std::size_t longest_nesting(std::vector<std::string_view> texts) {
  std::sort(texts.begin(), texts.end());
  std::vector<std::string_view> chain;
  std::size_t longest = 0;
  for (const std::string_view text : texts) {
    while (!chain.empty() && !text.starts_with(chain.back())) {
      chain.pop_back();
    }
    chain.push_back(text);
    longest = std::max(longest, chain.size());
  }
  return longest;
}

bool read_trainer(std::string_view message, SentencePieceFlags& flags) {
  FieldReader reader(message);
  while (const std::optional<Field> field = reader.next()) {
    if (field->is_varint(kTreatWhitespaceAsSuffix)) {
      flags.whitespace_as_suffix = field->value != 0;
    } else if (field->is_varint(kModelType)) {
      flags.is_bpe = field->value == kBpe;
    }
  }
  return !reader.failed();
}

bool read_denormalizer(std::string_view message, SentencePieceFlags& flags) {
  FieldReader reader(message);
  while (const std::optional<Field> field = reader.next()) {
    if (field->is_bytes(kPrecompiledCharsmap)) {
      flags.has_denormalizer = !field->bytes.empty();
    }
  }
  return !reader.failed();
}

void append_bytes(std::string& message, std::uint64_t number, std::string_view bytes) {
  message.push_back(static_cast<char>(number << 3 | static_cast<std::uint64_t>(Wire::kBytes)));
  std::uint64_t length = bytes.size();
  for (; length >= 0x80; length >>= 7) {
    message.push_back(static_cast<char>(length | 0x80));
  }
  message.push_back(static_cast<char>(length));
  message += bytes;
}

}  // namespace

std::optional<SentencePieceFlags> read_sentencepiece_flags(std::string_view serialized) {
  SentencePieceFlags flags;
  std::vector<std::string_view> user_defined;
  FieldReader reader(serialized);
  bool ok = true;
  while (const std::optional<Field> field = reader.next()) {
    if (field->is_bytes(kPieces)) {
      ok = ok && read_piece(field->bytes, flags, user_defined);
    } else if (field->is_bytes(kTrainerSpec)) {
      ok = ok && read_trainer(field->bytes, flags);
    } else if (field->is_bytes(kNormalizerSpec)) {
      ok = ok && read_normalizer(field->bytes, flags);
    } else if (field->is_bytes(kDenormalizerSpec)) {
      ok = ok && read_denormalizer(field->bytes, flags);
    }
  }
  if (!ok || reader.failed()) {
    return std::nullopt;
  }
  flags.user_defined_nesting = longest_nesting(std::move(user_defined));
  return flags;
}

std::string with_settings(std::string_view serialized, std::string_view charsmap, bool dummy_prefix) {
  std::string normalizer;
  append_bytes(normalizer, kPrecompiledCharsmap, charsmap);
  if (!dummy_prefix) {
    normalizer += {static_cast<char>(kAddDummyPrefix << 3), 0};
  }
  std::string denormalizer;
  append_bytes(denormalizer, kPrecompiledCharsmap, {});
  std::string changed(serialized);
  append_bytes(changed, kNormalizerSpec, normalizer);
  append_bytes(changed, kDenormalizerSpec, denormalizer);
  return changed;
}

}  // namespace coppice::text
