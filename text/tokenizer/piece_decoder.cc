// Decoding steps, and reading them from JSON.
#include "text/tokenizer/piece_decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/byte_alphabet.h"
#include "text/tokenizer/component_json.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::size_t kStepsMax = 32;  // decoders in a Sequence; each runs over every piece of the vocabulary

std::optional<unsigned> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

// "<0x0A>" → 10.
std::optional<char> byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token.back() != '>') {
    return std::nullopt;
  }
  const std::optional<unsigned> high = hex_digit(token[3]);
  const std::optional<unsigned> low = hex_digit(token[4]);
  // Rust's from_str_radix takes a sign: "<0x+A>" is a byte to Hugging Face.
  if (token[3] == '+' && low.has_value()) {
    return static_cast<char>(*low);
  }
  if (!high.has_value() || !low.has_value()) {
    return std::nullopt;
  }
  return static_cast<char>(*high * 16 + *low);
}

absl::Status replace_all(const PieceDecoder::Replace& replace, std::string& text) {
  std::vector<Span> matches;
  COPPICE_RETURN_IF_ERROR(replace.pattern.find_all(text, {0, static_cast<std::uint32_t>(text.size())}, matches));
  for (auto match = matches.rbegin(); match != matches.rend(); ++match) {
    text.replace(match->begin, match->end - match->begin, replace.content);
  }
  return absl::OkStatus();
}

void strip_each(const PieceDecoder::StripEach& strip, std::string& text) {
  for (std::int64_t count = 0; count < strip.start && text.starts_with(strip.unit); ++count) {
    text.erase(0, strip.unit.size());
  }
  for (std::int64_t count = 0; count < strip.stop && text.ends_with(strip.unit); ++count) {
    text.erase(text.size() - strip.unit.size());
  }
}

void restore_spaces(const PieceDecoder::Metaspace& metaspace, bool is_first, std::string& text) {
  const std::string space = metaspace.dropped_in_first && is_first ? "" : " ";
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    if (std::string_view(text).substr(at).starts_with(metaspace.replacement)) {
      out += space;
      at += metaspace.replacement.size();
    } else {
      out.push_back(text[at]);
      ++at;
    }
  }
  text = std::move(out);
}

}  // namespace

// Reads the steps in order and refuses orders whose meaning is not known.
class PieceDecoder::Reader {
 public:
  absl::Status add(const Json& json, const std::string& where, std::size_t depth) {
    COPPICE_ASSIGN_OR_RETURN(const std::string type, type_field(json, where));
    if (decoder_.steps_.size() >= kStepsMax || depth > kStepsMax) {
      return invalid_field(where, "too many steps");
    }
    if (type == "Sequence") {
      return add_sequence(json, where, depth);
    }
    const bool is_byte_level = !decoder_.steps_.empty() && std::holds_alternative<ByteLevel>(decoder_.steps_.back());
    if (is_byte_level && type != "Fuse") {
      return invalid_field(where, "a step behind ByteLevel is not supported");
    }
    if (type == "Fuse") {
      fused_ = true;
      return absl::OkStatus();
    }
    if (type == "Strip") {
      return add_strip(json, where);
    }
    if (fused_ || has_byte_fallback_) {
      return invalid_field(where, fmt::format("\"{}\" behind ByteFallback or Fuse is not supported", type));
    }
    return add_piece_step(type, json, where);
  }

  absl::StatusOr<PieceDecoder> take() {
    decoder_.rules_.invalid_bytes = has_byte_fallback_ ? InvalidBytes::kWholeRun : InvalidBytes::kMaximalSubpart;
    return std::move(decoder_);
  }

 private:
  absl::Status add_sequence(const Json& json, const std::string& where, std::size_t depth) {
    COPPICE_ASSIGN_OR_RETURN(const Json* list, array_field(json, "decoders", where));
    for (std::size_t index = 0; index < list->size(); ++index) {
      COPPICE_RETURN_IF_ERROR(add((*list)[index], fmt::format("{}.decoders[{}]", where, index), depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status add_piece_step(const std::string& type, const Json& json, const std::string& where) {
    if (type == "ByteLevel") {
      decoder_.steps_.emplace_back(ByteLevel{});
    } else if (type == "ByteFallback") {
      decoder_.steps_.emplace_back(ByteFallback{});
      has_byte_fallback_ = true;
    } else if (type == "Replace") {
      COPPICE_ASSIGN_OR_RETURN(Pattern pattern, pattern_field(json, "pattern", where));
      COPPICE_ASSIGN_OR_RETURN(std::string content, string_field(json, "content", "", where));
      decoder_.steps_.emplace_back(Replace{std::move(pattern), std::move(content)});
    } else if (type == "Metaspace") {
      COPPICE_ASSIGN_OR_RETURN(std::string replacement, string_field(json, "replacement", "\xE2\x96\x81", where));
      COPPICE_ASSIGN_OR_RETURN(const bool prefix, bool_field(json, "add_prefix_space", true, where));
      COPPICE_ASSIGN_OR_RETURN(const std::string scheme,
                               string_field(json, "prepend_scheme", prefix ? "always" : "never", where));
      if (replacement.empty() || replacement == " ") {
        return invalid_field(where, "\"replacement\" must be a character other than space");
      }
      decoder_.steps_.emplace_back(Metaspace{std::move(replacement), scheme != "never"});
    } else {
      return invalid_field(where, fmt::format("decoder \"{}\" is not supported", type));
    }
    return absl::OkStatus();
  }

  // After Fuse, Strip applies to the whole text; before it, to every token.
  absl::Status add_strip(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(std::string unit, string_field(json, "content", " ", where));
    COPPICE_ASSIGN_OR_RETURN(const std::int64_t start, integer_field(json, "start", 0, where));
    COPPICE_ASSIGN_OR_RETURN(const std::int64_t stop, integer_field(json, "stop", 0, where));
    if (unit.empty() || start < 0 || stop < 0 || start > INT32_MAX) {
      return invalid_field(where, "\"content\", \"start\" or \"stop\" is out of range");
    }
    if (!fused_) {
      if (has_byte_fallback_) {
        return invalid_field(where, "Strip between ByteFallback and Fuse is not supported");
      }
      decoder_.steps_.emplace_back(StripEach{std::move(unit), start, stop});
      return absl::OkStatus();
    }
    if (stop != 0 || decoder_.rules_.strip_count != 0) {
      return invalid_field(where, "stripping the end of the text, or twice, is not supported");
    }
    decoder_.rules_.strip_unit = std::move(unit);
    decoder_.rules_.strip_count = static_cast<std::int32_t>(start);
    return absl::OkStatus();
  }

  PieceDecoder decoder_;
  bool fused_ = false;
  bool has_byte_fallback_ = false;
};

absl::StatusOr<PieceDecoder> PieceDecoder::from_json(const Json* json, std::string_view where) {
  if (json == nullptr) {
    return invalid_field(where, "is missing: tokens cannot be joined to text");
  }
  Reader reader;
  COPPICE_RETURN_IF_ERROR(reader.add(*json, std::string(where), 0));
  return reader.take();
}

absl::StatusOr<PieceDecoder::Decoded> PieceDecoder::decode(std::string_view piece, bool is_first) const {
  Decoded decoded{TokenForm::kText, std::string(piece)};
  std::string& text = decoded.bytes;
  for (const Step& step : steps_) {
    if (const auto* replace = std::get_if<Replace>(&step)) {
      COPPICE_RETURN_IF_ERROR(replace_all(*replace, text));
    } else if (const auto* strip = std::get_if<StripEach>(&step)) {
      strip_each(*strip, text);
    } else if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
      restore_spaces(*metaspace, is_first, text);
    } else if (std::holds_alternative<ByteLevel>(step)) {
      text = bytes_of_piece(text).value_or(text);
    } else if (const std::optional<char> byte = byte_of_token(text)) {
      decoded = {TokenForm::kByte, std::string(1, *byte)};
    }
  }
  return decoded;
}

bool PieceDecoder::first_differs() const {
  return std::any_of(steps_.begin(), steps_.end(), [](const Step& step) {
    const auto* metaspace = std::get_if<Metaspace>(&step);
    return metaspace != nullptr && metaspace->dropped_in_first;
  });
}

}  // namespace coppice::text
