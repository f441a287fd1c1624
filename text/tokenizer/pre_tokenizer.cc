// Cutting steps, and reading them from JSON.
#include "text/tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "text/tokenizer/component_json.h"
#include "text/utf8.h"

namespace coppice::text {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

constexpr std::size_t kStepsMax = 32;  // pre-tokenizers in a Sequence; each walks the text once

// Makes pieces of the parts of a range, matches and what is between them, as they come. As HF NormalizedString::split.
class PieceMaker {
 public:
  PieceMaker(SplitBehavior behavior, bool invert, std::deque<Span>& pieces)
      : behavior_(behavior), invert_(invert), pieces_(pieces) {}

  void begin(Span range) {
    at_ = range.begin;
    is_first_ = true;
    previous_match_ = false;
  }
  void add_match(Span match) {
    if (at_ < match.begin) {
      add({at_, match.begin}, invert_);
    }
    add(match, !invert_);
    at_ = match.end;
  }
  void end(Span range) {
    if (at_ < range.end) {
      add({at_, range.end}, invert_);
    }
  }

 private:
  void add(Span part, bool is_match) {
    if (joins(is_match) && !is_first_) {
      pieces_.back().end = part.end;
    } else if (behavior_ != SplitBehavior::kRemoved || !is_match) {
      pieces_.push_back(part);
    }
    is_first_ = false;
    previous_match_ = is_match;
  }

  // With the part before.
  bool joins(bool is_match) const {
    switch (behavior_) {
      case SplitBehavior::kRemoved:
      case SplitBehavior::kIsolated:
        return false;
      case SplitBehavior::kMergedWithPrevious:
        return is_match && !previous_match_;
      case SplitBehavior::kMergedWithNext:
        return !is_match && previous_match_;
      case SplitBehavior::kContiguous:
        return is_match == previous_match_;
    }
    return false;
  }

  const SplitBehavior behavior_;
  const bool invert_;
  std::deque<Span>& pieces_;
  std::uint32_t at_ = 0;  // where the part that is not yet added begins
  bool is_first_ = true;  // no part of the range was added
  bool previous_match_ = false;
};

absl::Status split_pieces(const Pattern& pattern, SplitBehavior behavior, bool invert, CutText& cut) {
  std::deque<Span> pieces;
  PieceMaker maker(behavior, invert, pieces);
  for (const Span& piece : cut.pieces) {
    maker.begin(piece);
    COPPICE_RETURN_IF_ERROR(pattern.for_each(cut.text, piece, [&maker](Span match) { maker.add_match(match); }));
    maker.end(piece);
  }
  std::erase_if(pieces, [](const Span& piece) { return piece.begin == piece.end; });
  cut.pieces = std::move(pieces);
  return absl::OkStatus();
}

// Rewrites every piece by `rewrite(piece text, index of the piece, out)`.
template <typename Rewrite>
void rewrite_pieces(CutText& cut, const Rewrite& rewrite) {
  std::string text;
  text.reserve(cut.text.size() + cut.text.size() / 2);
  for (std::size_t index = 0; index < cut.pieces.size(); ++index) {
    Span& piece = cut.pieces[index];
    const auto begin = static_cast<std::uint32_t>(text.size());
    rewrite(std::string_view(cut.text).substr(piece.begin, piece.size()), index, text);
    piece = {begin, static_cast<std::uint32_t>(text.size())};
  }
  cut.text = std::move(text);
}

absl::Status apply_metaspace(const PreTokenizer::Metaspace& metaspace, CutText& cut) {
  const bool first_is_start = cut.at_start && !cut.pieces.empty() && cut.pieces.front().begin == 0;
  rewrite_pieces(cut, [&](std::string_view piece, std::size_t index, std::string& out) {
    const bool wanted = metaspace.prepend == PreTokenizer::PrependScheme::kAlways ||
                        (metaspace.prepend == PreTokenizer::PrependScheme::kFirst && index == 0 && first_is_start);
    if (wanted && !piece.starts_with(' ') && !piece.starts_with(metaspace.replacement)) {
      out += metaspace.replacement;
    }
    for (const char byte : piece) {
      if (byte == ' ') {
        out += metaspace.replacement;
      } else {
        out.push_back(byte);
      }
    }
  });
  if (!metaspace.split) {
    return absl::OkStatus();
  }
  return split_pieces(metaspace.splitter, SplitBehavior::kMergedWithNext, false, cut);
}

void apply_prefix_space(CutText& cut) {
  rewrite_pieces(cut, [](std::string_view piece, std::size_t, std::string& out) {
    if (!piece.starts_with(' ')) {
      out.push_back(' ');
    }
    out += piece;
  });
}

absl::StatusOr<SplitBehavior> split_behavior(const Json& json, const std::string& where) {
  COPPICE_ASSIGN_OR_RETURN(const std::string name, string_field(json, "behavior", "", where));
  constexpr std::pair<std::string_view, SplitBehavior> kNames[] = {
      {"Removed", SplitBehavior::kRemoved},
      {"Isolated", SplitBehavior::kIsolated},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) {
      return behavior;
    }
  }
  return invalid_field(where, fmt::format("behavior \"{}\" is not supported", name));
}

// Reads the steps in order.
class Reader {
 public:
  absl::Status add(const Json& json, const std::string& where, std::size_t depth) {
    COPPICE_ASSIGN_OR_RETURN(const std::string type, type_field(json, where));
    if (steps_.size() >= kStepsMax || depth > kStepsMax) {
      return invalid_field(where, "too many steps");
    }
    if (byte_level_) {
      return invalid_field(where, "a step behind ByteLevel is not supported");
    }
    if (type == "Sequence") {
      return add_sequence(json, where, depth);
    }
    if (type == "ByteLevel") {
      return add_byte_level(json, where);
    }
    if (type == "Split") {
      return add_split(json, where);
    }
    if (type == "Digits") {
      return add_digits(json, where);
    }
    if (type == "Metaspace") {
      return add_metaspace(json, where);
    }
    return invalid_field(where, fmt::format("pre-tokenizer \"{}\" is not supported", type));
  }

  PreTokenizer take() { return {std::move(steps_), byte_level_}; }

 private:
  absl::Status add_sequence(const Json& json, const std::string& where, std::size_t depth) {
    COPPICE_ASSIGN_OR_RETURN(const Json* list, array_field(json, "pretokenizers", where));
    for (std::size_t index = 0; index < list->size(); ++index) {
      COPPICE_RETURN_IF_ERROR(add((*list)[index], fmt::format("{}.pretokenizers[{}]", where, index), depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status add_byte_level(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(const bool prefix, bool_field(json, "add_prefix_space", true, where));
    COPPICE_ASSIGN_OR_RETURN(const bool regex, bool_field(json, "use_regex", true, where));
    if (prefix) {
      steps_.emplace_back(PreTokenizer::PrefixSpace{});
    }
    if (regex) {
      COPPICE_ASSIGN_OR_RETURN(Pattern pattern, Pattern::compile(kGpt2Pattern));
      steps_.emplace_back(PreTokenizer::Split{std::move(pattern), SplitBehavior::kIsolated, false});
    }
    byte_level_ = true;
    return absl::OkStatus();
  }

  absl::Status add_split(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(Pattern pattern, pattern_field(json, "pattern", where));
    COPPICE_ASSIGN_OR_RETURN(const SplitBehavior behavior, split_behavior(json, where));
    COPPICE_ASSIGN_OR_RETURN(const bool invert, bool_field(json, "invert", false, where));
    steps_.emplace_back(PreTokenizer::Split{std::move(pattern), behavior, invert});
    return absl::OkStatus();
  }

  absl::Status add_digits(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(const bool individual, bool_field(json, "individual_digits", false, where));
    COPPICE_ASSIGN_OR_RETURN(Pattern pattern, Pattern::compile("\\p{N}"));
    steps_.emplace_back(PreTokenizer::Split{std::move(pattern),
                                            individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, false});
    return absl::OkStatus();
  }

  absl::Status add_metaspace(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(std::string replacement, string_field(json, "replacement", "\xE2\x96\x81", where));
    if (replacement.empty() || utf8_step(replacement, 0).length != replacement.size() || !is_valid_utf8(replacement)) {
      return invalid_field(where, "\"replacement\" must be one character");
    }
    COPPICE_ASSIGN_OR_RETURN(const PreTokenizer::PrependScheme prepend, prepend_scheme(json, where));
    COPPICE_ASSIGN_OR_RETURN(const bool split, bool_field(json, "split", true, where));
    COPPICE_ASSIGN_OR_RETURN(Pattern splitter, Pattern::compile_literal(replacement));
    steps_.emplace_back(PreTokenizer::Metaspace{std::move(replacement), prepend, std::move(splitter), split});
    return absl::OkStatus();
  }

  // "prepend_scheme", or the older "add_prefix_space".
  static absl::StatusOr<PreTokenizer::PrependScheme> prepend_scheme(const Json& json, const std::string& where) {
    COPPICE_ASSIGN_OR_RETURN(const bool prefix, bool_field(json, "add_prefix_space", true, where));
    COPPICE_ASSIGN_OR_RETURN(const std::string name,
                             string_field(json, "prepend_scheme", prefix ? "always" : "never", where));
    if (name == "always") {
      return PreTokenizer::PrependScheme::kAlways;
    }
    if (name == "first") {
      return PreTokenizer::PrependScheme::kFirst;
    }
    if (name == "never") {
      return PreTokenizer::PrependScheme::kNever;
    }
    return invalid_field(where, fmt::format("prepend_scheme \"{}\" is not supported", name));
  }

  std::vector<PreTokenizer::Step> steps_;
  bool byte_level_ = false;
};

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::from_json(const Json* json, std::string_view where) {
  Reader reader;
  if (json != nullptr) {
    COPPICE_RETURN_IF_ERROR(reader.add(*json, std::string(where), 0));
  }
  return reader.take();
}

void PreTokenizer::grow(Growth& growth) const {
  for (const Step& step : steps_) {
    if (std::holds_alternative<Split>(step)) {
      growth.cut();
    } else if (const auto* const metaspace = std::get_if<Metaspace>(&step)) {
      growth.replace(" ", metaspace->replacement);
      if (metaspace->prepend == PrependScheme::kAlways) {
        growth.prepend_to_pieces(metaspace->replacement);
      } else if (metaspace->prepend == PrependScheme::kFirst) {
        growth.prepend(metaspace->replacement);
      }
      growth.cut();
    } else {
      growth.prepend_to_pieces(" ");
    }
  }
}

absl::Status PreTokenizer::cut(CutText& cut) const {
  cut.pieces.clear();
  if (!cut.text.empty()) {
    cut.pieces.push_back({0, static_cast<std::uint32_t>(cut.text.size())});
  }
  for (const Step& step : steps_) {
    if (const auto* split = std::get_if<Split>(&step)) {
      COPPICE_RETURN_IF_ERROR(split_pieces(split->pattern, split->behavior, split->invert, cut));
    } else if (const auto* metaspace = std::get_if<Metaspace>(&step)) {
      COPPICE_RETURN_IF_ERROR(apply_metaspace(*metaspace, cut));
    } else {
      apply_prefix_space(cut);
    }
  }
  return absl::OkStatus();
}

}  // namespace coppice::text
