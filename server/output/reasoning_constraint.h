// ReasoningConstraint: what a sequence may be that thinks before it answers. While it thinks every token may come, up
// to a budget, then the end of thinking alone; from there on another constraint holds, if there is one. It watches for
// the end of thinking token by token, inside drafts too.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/constraint.h"
#include "server/output/output_rules.h"
#include "text/output/stop_matcher.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// A model's tokens as reasoning knows them. Owner: the model host; immutable, any thread. The tokenizer outlives it.
class ReasoningTokens {
 public:
  // `vocab_size`, `end_tokens`: of the model. REQUIRES: a format that is not none.
  ReasoningTokens(const ReasoningFormat& format, const text::Tokenizer& tokenizer, std::int32_t vocab_size,
                  std::vector<TokenId> end_tokens);

  const ReasoningFormat& format() const { return format_; }
  std::int32_t vocab_size() const { return vocab_size_; }
  const std::vector<TokenId>& end_tokens() const { return end_tokens_; }
  // The one token that opens thinking; none: it takes several.
  std::optional<TokenId> open_token() const { return open_; }
  // Tokens that spell the end of thinking.
  const std::vector<TokenId>& closing() const { return closing_; }
  // Tokens that are line ends alone.
  const std::vector<TokenId>& line_ends() const { return line_ends_; }
  bool is_line_end(TokenId token) const;
  // Tokens that have all of the thinking's end in them and go on behind it, with more than line ends.
  const std::vector<TokenId>& closers() const { return closers_; }
  // Whether `token` ends thinking, whose end has come as far as `close`, and goes on with more than line ends.
  bool goes_on_behind_close(text::StopStrings::State close, TokenId token) const;
  // The text of a token; "" for a special one that is no mark.
  std::string text_of(TokenId token) const;
  const text::StopStrings& close_text() const { return close_text_; }

 private:
  const ReasoningFormat& format_;
  const text::Tokenizer& tokenizer_;
  std::int32_t vocab_size_;
  std::vector<TokenId> end_tokens_;
  std::optional<TokenId> open_;
  std::vector<TokenId> closing_;
  std::vector<TokenId> line_ends_;  // ascending
  text::StopStrings close_text_;
  std::vector<TokenId> closers_;
};

// Owner and thread: as engine::ConstraintSource says.
class ReasoningSource final : public engine::ConstraintSource {
 public:
  // `budget`: tokens of thinking; none: no bound. `after`: null: any answer. `tokens` outlives it.
  ReasoningSource(const ReasoningTokens& tokens, ReasoningStart start, std::optional<std::int64_t> budget,
                  std::shared_ptr<const engine::ConstraintSource> after)
      : tokens_(tokens), start_(start), budget_(budget), after_(std::move(after)) {}

  absl::StatusOr<std::unique_ptr<engine::TokenConstraint>> begin() const override;

 private:
  const ReasoningTokens& tokens_;
  const ReasoningStart start_;
  const std::optional<std::int64_t> budget_;
  const std::shared_ptr<const engine::ConstraintSource> after_;
};

// Owner and thread: as engine::TokenConstraint says.
class ReasoningConstraint final : public engine::TokenConstraint {
 public:
  // `after`: null: any answer.
  ReasoningConstraint(const ReasoningTokens& tokens, ReasoningStart start, std::optional<std::int64_t> budget,
                      std::unique_ptr<engine::TokenConstraint> after);

  absl::Status accept(TokenId token) override;
  absl::Status check_draft(const engine::DraftNodes& draft, std::span<std::uint8_t> allowed) override;
  absl::Status fill_masks(const engine::DraftNodes& draft, std::span<std::uint32_t> masks,
                          std::span<std::uint8_t> limited) override;
  absl::StatusOr<std::vector<TokenId>> forced_tokens() override;

 private:
  enum class Phase : std::uint8_t {
    kStart,  // nothing but what may open thinking came
    kThinking,
    kLineEnds,  // thinking is over, and line ends behind it may come
    kAnswer,
  };
  // Where a token has led to: a function of the tokens before it.
  struct Place {
    Phase phase = Phase::kAnswer;
    std::string opening = {};            // kStart: the text so far
    text::StopStrings::State close = 0;  // kThinking: how far the end's text has come
    std::int64_t thought = 0;            // tokens
    std::size_t forced = 0;              // of the closing tokens that are forced, those that came
    int line_ends = 0;                   // tokens
  };
  // The part of a draft that the answer's constraint sees.
  struct AnswerDraft {
    std::vector<std::int32_t> parents;
    std::vector<TokenId> tokens;
    std::vector<std::size_t> nodes;  // of the whole draft
  };

  Place after(const Place& place, TokenId token) const;
  Place think_on(Place place, TokenId token) const;
  void scan_close(Place& place, std::string_view text) const;
  bool is_forced(const Place& place) const { return budget_ && place.thought >= *budget_; }
  // Whether the rules of thinking let `token` come; of the answer the other constraint decides.
  bool may_come(const Place& place, TokenId token) const;
  std::vector<Place> places_of(const engine::DraftNodes& draft) const;
  AnswerDraft answer_part(const engine::DraftNodes& draft, const std::vector<Place>& places,
                          std::span<const std::uint8_t> allowed) const;
  bool fill_thinking(const Place& place, std::span<std::uint32_t> mask) const;

  const ReasoningTokens& tokens_;
  const std::optional<std::int64_t> budget_;
  const std::unique_ptr<engine::TokenConstraint> answer_;
  Place place_;
};

}  // namespace coppice::server
