// The parts of a sequence that say which text it is: its tokens, and what is read about them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"
#include "engine/request.h"

namespace coppice::engine {

// The tokens of a sequence and how far the engine is with them. Writers: RequestDesk (begin and end), Settlement.
class TokenState {
 public:
  // Prompt, then output; the last is kNoToken while awaits_token(). Empty: the sequence is dormant.
  const std::vector<TokenId>& ids() const { return ids_; }
  std::int32_t count() const { return static_cast<std::int32_t>(ids_.size()); }
  std::int32_t prompt_count() const { return prompt_count_; }
  // The last of ids() is being drawn.
  bool awaits_token() const { return awaits_token_; }
  // Tokens that may still be generated: at 0 the sequence ends by length.
  std::int32_t left() const { return count_max_ - count(); }
  // False: only the prompt is asked about (max_tokens is 0).
  bool has_output() const { return count_max_ > prompt_count_; }
  // Where every prompt row has an output (prompt logprobs, a mean of hidden states): leading rows whose output was
  // reported, of rows_wanted(). -1: not asked for.
  std::int32_t rows_reported() const { return rows_reported_; }
  std::int32_t rows_wanted() const { return rows_wanted_; }

 private:
  friend class RequestDesk;
  friend class Settlement;

  // Makes room for the token that is being drawn. Not if it is the last: then there is no step behind it.
  void await_token() {
    if (left() > 1) {
      ids_.push_back(kNoToken);
      awaits_token_ = true;
    }
  }
  void forget_awaited() {
    if (awaits_token_) {
      ids_.pop_back();
      awaits_token_ = false;
    }
  }

  std::vector<TokenId> ids_;
  std::int32_t prompt_count_ = 0;
  std::int32_t count_max_ = 0;  // the sequence ends by length when it has this number of tokens
  std::int32_t rows_reported_ = -1;
  std::int32_t rows_wanted_ = 0;
  bool awaits_token_ = false;
};

// What is read about a sequence's text instead of a continuation. Writers: RequestDesk (begins it), Settlement.
class ReadingState {
 public:
  Reading kind() const { return kind_; }
  // The outputs of its rows are hidden states, not logits.
  bool reads_hidden() const { return kind_ == Reading::kLastHidden || kind_ == Reading::kMeanHidden; }

 private:
  friend class RequestDesk;
  friend class Settlement;

  Reading kind_ = Reading::kNone;
  // Of the hidden states of the rows reported so far, added in the order of their positions, so that it does not depend
  // on how the prompt was cut into chunks.
  std::vector<double> sum_;
};

}  // namespace coppice::engine
