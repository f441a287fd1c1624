// Unicode normalization by utf8proc. Text below U+0300 is already in NFC and skips it.
#include "text/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/component_json.h"
#include "text/tokenizer/unicode_additions.h"
#include "text/utf8.h"

namespace coppice::text {
namespace {

constexpr std::size_t kStepsMax = 32;  // normalizers in a Sequence; each walks the text once
// Bytes that a form makes of one, at most (Unicode Standard Annex 15).
constexpr std::size_t kDecomposedFactor = 3;
constexpr std::size_t kCompatibleFactor = 11;

// Lead byte of U+0300, the first character that NFC may change.
bool is_surely_nfc(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<std::uint8_t>(byte) < 0xCC; });
}

int utf8proc_options(Normalizer::UnicodeForm form) {
  switch (form) {
    case Normalizer::UnicodeForm::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case Normalizer::UnicodeForm::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case Normalizer::UnicodeForm::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case Normalizer::UnicodeForm::kNfkd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
  return 0;
}

bool is_left_alone(char32_t code_point) {
  const std::span<const CodePointRange> ranges = left_alone_by_normalization();
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), code_point,
                                      [](char32_t value, const CodePointRange& range) { return value < range.first; });
  return after != ranges.begin() && code_point <= (after - 1)->last;
}

absl::StatusOr<std::string> normalize_range(std::string_view text, Normalizer::UnicodeForm form) {
  const auto options = static_cast<utf8proc_option_t>(utf8proc_options(form));
  const auto* source = static_cast<const utf8proc_uint8_t*>(static_cast<const void*>(text.data()));
  const auto size = static_cast<utf8proc_ssize_t>(text.size());
  const utf8proc_ssize_t needed = utf8proc_decompose(source, size, nullptr, 0, options);
  if (needed < 0) {
    return absl::InvalidArgumentError(fmt::format("Unicode normalization failed: {}", utf8proc_errmsg(needed)));
  }
  // utf8proc_reencode() works in place and needs one byte more than the code points.
  std::vector<utf8proc_int32_t> buffer(static_cast<std::size_t>(needed) + 1);
  utf8proc_decompose(source, size, buffer.data(), needed, options);
  const utf8proc_ssize_t bytes = utf8proc_reencode(buffer.data(), needed, options);
  if (bytes < 0) {
    return absl::InvalidArgumentError(fmt::format("Unicode normalization failed: {}", utf8proc_errmsg(bytes)));
  }
  return std::string(static_cast<const char*>(static_cast<const void*>(buffer.data())),
                     static_cast<std::size_t>(bytes));
}

// Normalises around characters that the form leaves alone: these neither move nor compose, so the text on each side is
// normalised apart.
absl::StatusOr<std::string> unicode_normalize(std::string_view text, Normalizer::UnicodeForm form) {
  if (form == Normalizer::UnicodeForm::kNfc && is_surely_nfc(text)) {
    return std::string(text);
  }
  std::string out;
  out.reserve(text.size());
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const Utf8Step step = at < text.size() ? utf8_step(text, at) : Utf8Step{};
    if (at == text.size() || is_left_alone(step.code_point)) {
      if (begin < at) {
        COPPICE_ASSIGN_OR_RETURN(const std::string range, normalize_range(text.substr(begin, at - begin), form));
        out += range;
      }
      out += text.substr(at, step.length);
      begin = at + step.length;
    }
    at += step.length;
  }
  return out;
}

absl::StatusOr<std::string> replace_matches(std::string_view text, const Normalizer::Replace& replace) {
  std::string out;
  out.reserve(text.size());
  std::size_t at = 0;
  const Span whole{0, static_cast<std::uint32_t>(text.size())};
  COPPICE_RETURN_IF_ERROR(replace.pattern.for_each(text, whole, [&](Span match) {
    if (out.size() <= kJsonBytesMax) {
      out += text.substr(at, match.begin - at);
      out += replace.content;
      at = match.end;
    }
  }));
  if (out.size() > kJsonBytesMax) {
    return absl::ResourceExhaustedError("the normalizer made the text too long");
  }
  out += text.substr(at);
  return out;
}

absl::Status add_steps(const Json& json, const std::string& where, std::size_t depth,
                       std::vector<Normalizer::Step>& steps);

absl::Status add_sequence(const Json& json, const std::string& where, std::size_t depth,
                          std::vector<Normalizer::Step>& steps) {
  COPPICE_ASSIGN_OR_RETURN(const Json* list, array_field(json, "normalizers", where));
  for (std::size_t index = 0; index < list->size(); ++index) {
    COPPICE_RETURN_IF_ERROR(
        add_steps((*list)[index], fmt::format("{}.normalizers[{}]", where, index), depth + 1, steps));
  }
  return absl::OkStatus();
}

absl::Status add_steps(const Json& json, const std::string& where, std::size_t depth,
                       std::vector<Normalizer::Step>& steps) {
  COPPICE_ASSIGN_OR_RETURN(const std::string type, type_field(json, where));
  if (steps.size() >= kStepsMax || depth > kStepsMax) {
    return invalid_field(where, "too many steps");
  }
  if (type == "Sequence") {
    return add_sequence(json, where, depth, steps);
  }
  if (type == "NFC") {
    steps.emplace_back(Normalizer::UnicodeForm::kNfc);
  } else if (type == "NFD") {
    steps.emplace_back(Normalizer::UnicodeForm::kNfd);
  } else if (type == "NFKC") {
    steps.emplace_back(Normalizer::UnicodeForm::kNfkc);
  } else if (type == "NFKD") {
    steps.emplace_back(Normalizer::UnicodeForm::kNfkd);
  } else if (type == "Prepend") {
    COPPICE_ASSIGN_OR_RETURN(std::string prefix, string_field(json, "prepend", "", where));
    steps.emplace_back(Normalizer::Prepend{std::move(prefix)});
  } else if (type == "Replace") {
    COPPICE_ASSIGN_OR_RETURN(Pattern pattern, pattern_field(json, "pattern", where));
    COPPICE_ASSIGN_OR_RETURN(std::string content, string_field(json, "content", "", where));
    steps.emplace_back(Normalizer::Replace{std::move(pattern), std::move(content)});
  } else {
    return invalid_field(where, fmt::format("normalizer \"{}\" is not supported", type));
  }
  return absl::OkStatus();
}

// What one step makes of a text, or of a part of it that is not `at_start`.
absl::StatusOr<std::string> rewrite(std::string_view text, const Normalizer::Step& step, bool at_start) {
  if (const auto* form = std::get_if<Normalizer::UnicodeForm>(&step)) {
    return unicode_normalize(text, *form);
  }
  if (const auto* prepend = std::get_if<Normalizer::Prepend>(&step)) {
    return at_start && !text.empty() ? prepend->prefix + std::string(text) : std::string(text);
  }
  return replace_matches(text, std::get<Normalizer::Replace>(step));
}

// Rewrites the text part by part. When that gives `whole`, it says where the parts are in it.
absl::Status move_parts(std::string_view text, std::string_view whole, const Normalizer::Step& step,
                        std::vector<TextRange>& parts) {
  std::string joined;
  std::vector<TextRange> moved;
  std::size_t done = 0;
  const auto append = [&](std::size_t end) -> absl::Status {
    COPPICE_ASSIGN_OR_RETURN(const std::string piece, rewrite(text.substr(done, end - done), step, joined.empty()));
    joined += piece;
    done = end;
    return absl::OkStatus();
  };
  for (const TextRange& part : parts) {
    COPPICE_RETURN_IF_ERROR(append(part.begin));
    const std::size_t begin = joined.size();
    COPPICE_RETURN_IF_ERROR(append(part.end));
    moved.push_back({begin, joined.size()});
  }
  COPPICE_RETURN_IF_ERROR(append(text.size()));
  if (joined == whole) {
    parts = std::move(moved);
  } else {
    parts.assign(1, {0, whole.size()});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Normalizer> Normalizer::from_json(const Json* json, std::string_view where) {
  std::vector<Step> steps;
  if (json != nullptr) {
    COPPICE_RETURN_IF_ERROR(add_steps(*json, std::string(where), 0, steps));
  }
  return Normalizer(std::move(steps));
}

void Normalizer::grow(Growth& growth) const {
  for (const Step& step : steps_) {
    if (const auto* const form = std::get_if<UnicodeForm>(&step)) {
      const bool is_compatible = *form == UnicodeForm::kNfkc || *form == UnicodeForm::kNfkd;
      if (*form == UnicodeForm::kNfc) {
        growth.compose();
      } else {
        growth.normalize(is_compatible ? kCompatibleFactor : kDecomposedFactor);
      }
    } else if (const auto* const prepend = std::get_if<Prepend>(&step)) {
      growth.prepend(prepend->prefix);
    } else {
      const auto& replace = std::get<Replace>(step);
      const std::string& literal = replace.pattern.literal();
      if (!literal.empty()) {
        growth.replace(literal, replace.content);
      } else {
        growth.replace(replace.pattern.bytes_min(), replace.content);
      }
    }
  }
}

absl::StatusOr<std::string> Normalizer::normalize(std::string_view text) const {
  std::vector<TextRange> parts;
  return normalize(text, parts);
}

absl::StatusOr<std::string> Normalizer::normalize(std::string_view text, std::vector<TextRange>& parts) const {
  std::string current(text);
  for (const Step& step : steps_) {
    COPPICE_ASSIGN_OR_RETURN(std::string rewritten, rewrite(current, step, true));
    if (!parts.empty()) {
      COPPICE_RETURN_IF_ERROR(move_parts(current, rewritten, step, parts));
    }
    current = std::move(rewritten);
  }
  return current;
}

}  // namespace coppice::text
