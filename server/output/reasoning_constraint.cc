// Places of draft nodes first, then masks: by the rules of thinking, or by the answer's constraint.
#include "server/output/reasoning_constraint.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace coppice::server {
namespace {

constexpr int kMaskBits = 32;       // of a word
constexpr int kLineEndsMax = 2;     // tokens of line ends between thinking and answer: templates write two line ends
constexpr std::int32_t kRoot = -1;  // of a draft: the sequence's last token

std::optional<TokenId> one_token(const text::Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.token_to_id(text);
}

std::vector<TokenId> closing_tokens(const text::Tokenizer& tokenizer, std::string_view text) {
  if (const std::optional<TokenId> token = one_token(tokenizer, text)) {
    return {*token};
  }
  absl::StatusOr<std::vector<TokenId>> tokens = tokenizer.encode(text, {.add_special = false, .parse_special = true});
  return tokens.ok() ? *std::move(tokens) : std::vector<TokenId>();
}

void allow(TokenId token, std::span<std::uint32_t> mask) {
  mask[static_cast<std::size_t>(token / kMaskBits)] |= std::uint32_t{1} << static_cast<unsigned>(token % kMaskBits);
}

void forbid(TokenId token, std::span<std::uint32_t> mask) {
  mask[static_cast<std::size_t>(token / kMaskBits)] &= ~(std::uint32_t{1} << static_cast<unsigned>(token % kMaskBits));
}

}  // namespace

ReasoningTokens::ReasoningTokens(const ReasoningFormat& format, const text::Tokenizer& tokenizer,
                                 std::int32_t vocab_size, std::vector<TokenId> end_tokens)
    : format_(format),
      tokenizer_(tokenizer),
      vocab_size_(vocab_size),
      end_tokens_(std::move(end_tokens)),
      open_(one_token(tokenizer, format.open)),
      closing_(closing_tokens(tokenizer, format.close)),
      close_text_({std::string(format.close)}) {
  const std::int32_t count = std::min(vocab_size, tokenizer.vocab_size());
  for (TokenId token = 0; token < count; ++token) {
    const std::string bytes = tokenizer.is_special(token) ? "" : tokenizer.token_bytes(token);
    if (!bytes.empty() && bytes.find_first_not_of('\n') == std::string::npos) {
      line_ends_.push_back(token);
    }
    if (goes_on_behind_close(0, token)) {
      closers_.push_back(token);
    }
  }
}

bool ReasoningTokens::is_line_end(TokenId token) const {
  return std::binary_search(line_ends_.begin(), line_ends_.end(), token);
}

std::string ReasoningTokens::text_of(TokenId token) const {
  if (!tokenizer_.is_special(token)) {
    return tokenizer_.token_bytes(token);
  }
  const std::string piece = tokenizer_.piece(token);
  return piece == format_.open || piece == format_.close ? piece : "";
}

// Such a token would begin the answer unseen.
bool ReasoningTokens::goes_on_behind_close(text::StopStrings::State close, TokenId token) const {
  const std::string text = text_of(token);
  for (std::size_t i = 0; i < text.size(); ++i) {
    close = close_text_.next(close, text[i]);
    if (close_text_.match(close)) {
      return text.find_first_not_of('\n', i + 1) != std::string::npos;
    }
  }
  return false;
}

absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> ReasoningSource::begin() const {
  std::unique_ptr<engine::TokenConstraint> answer;
  if (after_ != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(answer, after_->begin());
  }
  return std::make_unique<ReasoningConstraint>(tokens_, start_, budget_, std::move(answer));
}

ReasoningConstraint::ReasoningConstraint(const ReasoningTokens& tokens, ReasoningStart start,
                                         std::optional<std::int64_t> budget,
                                         std::unique_ptr<engine::TokenConstraint> after)
    : tokens_(tokens), budget_(budget), answer_(std::move(after)) {
  place_.phase = start == ReasoningStart::kOpen     ? Phase::kThinking
                 : start == ReasoningStart::kUnsaid ? Phase::kStart
                                                    : Phase::kAnswer;
}

ReasoningConstraint::Place ReasoningConstraint::after(const Place& place, TokenId token) const {
  Place next = place;
  switch (place.phase) {
    case Phase::kStart:
      if (token == tokens_.open_token()) {
        next.phase = Phase::kThinking;
      } else if (answer_ != nullptr) {
        next.phase = Phase::kAnswer;  // what is held to something begins at once
      } else {
        next.opening += tokens_.text_of(token);
        next.opening.erase(0, next.opening.find_first_not_of(" \t\r\n"));
        const std::string_view open = tokens_.format().open;
        if (next.opening.starts_with(open)) {  // the token may go on behind it
          next.phase = Phase::kThinking;
          const std::string thought = next.opening.substr(open.size());
          next.opening.clear();
          scan_close(next, thought);
        } else if (!open.starts_with(next.opening)) {
          next.phase = Phase::kAnswer;
        }
      }
      return next;
    case Phase::kThinking:
      return think_on(std::move(next), token);
    case Phase::kLineEnds:
      ++next.line_ends;
      if (answer_ == nullptr || !tokens_.is_line_end(token) || place.line_ends == kLineEndsMax) {
        next.phase = Phase::kAnswer;
      }
      return next;
    case Phase::kAnswer:
      return next;
  }
  return next;
}

ReasoningConstraint::Place ReasoningConstraint::think_on(Place place, TokenId token) const {
  place.forced += is_forced(place) ? 1 : 0;
  ++place.thought;
  scan_close(place, tokens_.text_of(token));
  return place;
}

// Reads text of thinking, up to the thinking's end.
void ReasoningConstraint::scan_close(Place& place, std::string_view text) const {
  for (const char byte : text) {
    place.close = tokens_.close_text().next(place.close, byte);
    if (tokens_.close_text().match(place.close)) {
      place.phase = Phase::kLineEnds;
      return;
    }
  }
}

bool ReasoningConstraint::may_come(const Place& place, TokenId token) const {
  if (place.phase != Phase::kThinking) {
    return true;
  }
  if (is_forced(place)) {
    return place.forced < tokens_.closing().size() && token == tokens_.closing()[place.forced];
  }
  const auto& ends = tokens_.end_tokens();
  if (answer_ != nullptr && std::find(ends.begin(), ends.end(), token) != ends.end()) {
    return false;  // an answer that is demanded has yet to come
  }
  return answer_ == nullptr || !tokens_.goes_on_behind_close(place.close, token);
}

absl::Status ReasoningConstraint::accept(TokenId token) {
  if (!may_come(place_, token)) {
    return absl::InvalidArgumentError("a token that the budget of thinking does not allow");
  }
  place_ = after(place_, token);
  return place_.phase == Phase::kAnswer && answer_ != nullptr ? answer_->accept(token) : absl::OkStatus();
}

std::vector<ReasoningConstraint::Place> ReasoningConstraint::places_of(const engine::DraftNodes& draft) const {
  std::vector<Place> places;
  places.reserve(draft.tokens.size());
  for (std::size_t i = 0; i < draft.tokens.size(); ++i) {
    const Place& parent = draft.parents[i] == kRoot ? place_ : places[static_cast<std::size_t>(draft.parents[i])];
    places.push_back(after(parent, draft.tokens[i]));
  }
  return places;
}

// `allowed`: empty: all are.
ReasoningConstraint::AnswerDraft ReasoningConstraint::answer_part(const engine::DraftNodes& draft,
                                                                  const std::vector<Place>& places,
                                                                  std::span<const std::uint8_t> allowed) const {
  AnswerDraft part;
  std::vector<std::int32_t> numbers(places.size(), kRoot);  // in the part
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i].phase != Phase::kAnswer || (!allowed.empty() && allowed[i] == 0)) {
      continue;
    }
    const std::int32_t parent = draft.parents[i];
    numbers[i] = static_cast<std::int32_t>(part.tokens.size());
    part.parents.push_back(parent == kRoot ? kRoot : numbers[static_cast<std::size_t>(parent)]);
    part.tokens.push_back(draft.tokens[i]);
    part.nodes.push_back(i);
  }
  return part;
}

absl::Status ReasoningConstraint::check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) {
  if (place_.phase == Phase::kAnswer && answer_ != nullptr) {
    return answer_->check_draft(draft, allowed);
  }
  const std::vector<Place> places = places_of(draft);
  for (std::size_t i = 0; i < places.size(); ++i) {
    const bool is_root = draft.parents[i] == kRoot;
    const auto parent = static_cast<std::size_t>(draft.parents[i]);
    allowed[i] =
        (is_root || allowed[parent] != 0) && may_come(is_root ? place_ : places[parent], draft.tokens[i]) ? 1 : 0;
  }
  if (answer_ == nullptr) {
    return absl::OkStatus();
  }
  const AnswerDraft part = answer_part(draft, places, allowed);
  std::vector<std::uint8_t> answers(part.nodes.size());
  COPPICE_RETURN_IF_ERROR(answer_->check_draft({part.parents, part.tokens}, answers));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    allowed[part.nodes[i]] = answers[i];
  }
  return absl::OkStatus();
}

// Says what may come in thinking. False: everything.
bool ReasoningConstraint::fill_thinking(const Place& place, std::span<std::uint32_t> mask) const {
  if (is_forced(place)) {
    if (place.forced >= tokens_.closing().size()) {
      return false;
    }
    std::fill(mask.begin(), mask.end(), 0U);
    allow(tokens_.closing()[place.forced], mask);
    return true;
  }
  if (answer_ == nullptr) {
    return false;
  }
  std::fill(mask.begin(), mask.end(), ~0U);
  for (const std::vector<TokenId>* const list : {&tokens_.end_tokens(), &tokens_.closers()}) {
    for (const TokenId token : *list) {
      forbid(token, mask);
    }
  }
  if (tokens_.close_text().depth(place.close) > 0) {
    for (TokenId token = 0; token < tokens_.vocab_size(); ++token) {
      if (!may_come(place, token)) {
        forbid(token, mask);
      }
    }
  }
  return true;
}

absl::Status ReasoningConstraint::fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                                             std::span<std::uint8_t> limited) {
  if (place_.phase == Phase::kAnswer && answer_ != nullptr) {
    return answer_->fill_masks(draft, masks, limited);
  }
  const std::vector<Place> places = places_of(draft);
  const auto is_thinking = [](const Place& place) { return place.phase == Phase::kThinking; };
  const bool is_answered = !is_thinking(place_) || !std::all_of(places.begin(), places.end(), is_thinking);
  const std::size_t entries = places.size() + 1;
  const std::size_t words = masks.size() / entries;
  AnswerDraft part;
  std::vector<std::uint32_t> answer_masks;
  std::vector<std::uint8_t> answer_limited;
  if (answer_ != nullptr && is_answered) {
    part = answer_part(draft, places, {});
    answer_masks.resize((part.nodes.size() + 1) * words);
    answer_limited.resize(part.nodes.size() + 1);
    COPPICE_RETURN_IF_ERROR(answer_->fill_masks({part.parents, part.tokens}, answer_masks, answer_limited));
  }
  std::size_t answers = 0;  // entries of the answer's constraint that have been used, its root left out
  for (std::size_t entry = 0; entry < entries; ++entry) {
    const Place& place = entry == 0 ? place_ : places[entry - 1];
    const std::span<std::uint32_t> mask = masks.subspan(entry * words, words);
    const std::size_t answer = place.phase == Phase::kAnswer && entry > 0 ? ++answers : 0;
    if (place.phase == Phase::kThinking) {
      limited[entry] = fill_thinking(place, mask) ? 1 : 0;
      continue;
    }
    limited[entry] = answer_ == nullptr ? 0 : answer_limited[answer];
    if (limited[entry] == 0) {
      continue;
    }
    std::copy_n(answer_masks.begin() + static_cast<std::ptrdiff_t>(answer * words), words, mask.begin());
    if (place.phase == Phase::kStart && tokens_.open_token()) {
      allow(*tokens_.open_token(), mask);
    } else if (place.phase == Phase::kLineEnds && place.line_ends < kLineEndsMax) {
      for (const TokenId token : tokens_.line_ends()) {
        allow(token, mask);
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> ReasoningConstraint::forced_tokens() {
  if (place_.phase == Phase::kThinking) {
    const std::vector<TokenId>& closing = tokens_.closing();
    const std::size_t done = std::min(place_.forced, closing.size());
    return is_forced(place_) ? std::vector<TokenId>(closing.begin() + static_cast<std::ptrdiff_t>(done), closing.end())
                             : std::vector<TokenId>();
  }
  if (answer_ == nullptr || place_.phase == Phase::kStart) {
    return std::vector<TokenId>();
  }
  return answer_->forced_tokens();
}

}  // namespace coppice::server
