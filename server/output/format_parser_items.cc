// Special tokens, and what leaves.
#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "server/output/format_parser.h"
#include "server/output/token_entry.h"

namespace coppice::server {

void FormatParser::push_mark(Terminal mark, Items& items) {
  ++place_;
  if (is_complete_) {
    return;
  }
  switch (mark) {
    case Terminal::kThink:
      if (state_ == State::kStart && may_think_ && held_.size() == blank_) {
        open_think(items);
      }
      return;
    case Terminal::kEndThink:
      if (state_ == State::kThink) {
        reasoning_ = {place_, /*is_over=*/true};
        const std::size_t end = think_marks_.depth() == 0 ? held_.size() - line_ends_ : held_.size();
        give_reasoning(end, held_.size() - end, items);
        state_ = State::kAfterThink;
        may_think_ = false;
      }
      return;
    case Terminal::kCall:
    case Terminal::kFunction:
      if (setup_.tools != nullptr) {
        open_by_mark(mark == Terminal::kFunction, items);
      }
      return;
    case Terminal::kClose:
    case Terminal::kCallId:
    case Terminal::kArguments:
      return read_mark_in_call(mark, items);
  }
}

void FormatParser::open_by_mark(bool is_in_function, Items& items) {
  const bool is_in_reasoning = state_ == State::kThink;
  if (is_in_reasoning && (!setup_.format->ends_reasoning || setup_.is_held)) {
    return;
  }
  if (state_ == State::kText) {
    give_text(held_.size(), items);
  } else if (state_ == State::kThink) {
    give_reasoning(held_.size() - (think_marks_.depth() == 0 ? line_ends_ : 0), 0, items);
  } else if (state_ == State::kBroken || (state_ == State::kCall && has_begun(reader_.get()))) {
    close_broken(items);
  } else if (state_ == State::kCall || state_ == State::kOpened) {
    fail_call(items);
  }
  if (calls_ > 0 && setup_.is_single) {
    is_complete_ = true;
    return;
  }
  open_calls(/*is_marked=*/true, is_in_function);
  section_.is_in_reasoning = is_in_reasoning;
}

// A token of the format that only calls have.
void FormatParser::read_mark_in_call(Terminal mark, Items& items) {
  if (state_ == State::kAfterCall && mark == Terminal::kClose) {
    return close_calls(items);
  }
  if (mark == Terminal::kClose && (state_ == State::kBroken || (state_ == State::kCall && has_begun(reader_.get())))) {
    close_broken(items);
    return close_calls(items);
  }
  if (state_ == State::kOpened) {
    return fail_call(items);
  }
  if (state_ != State::kCall || has_begun(reader_.get())) {
    return;
  }
  if (reader_->push_mark(mark) == Read::kFailed) {
    fail_call(items);
  } else if (has_begun(reader_.get())) {
    begin_call(items);
  }
}

// A call that has begun ends before its arguments are complete.
void FormatParser::close_broken(Items& items) {
  if (state_ == State::kCall) {
    reader_->finish(arguments_);
  }
  arguments_ += held_;
  end_call(0, items);
}

void FormatParser::flush(Items& items) {
  if (state_ == State::kText) {
    give_text(held_.size() - text_marks_.depth(), items);
  } else if (state_ == State::kThink) {
    give_reasoning(held_.size() - think_marks_.depth() - line_ends_, 0, items);
  } else if (state_ == State::kBroken || (state_ == State::kCall && has_begun(reader_.get()))) {
    const std::size_t certain = held_.size() - (state_ == State::kBroken ? broken_marks_.depth() : 0);
    arguments_.append(held_, 0, certain);
    held_.erase(0, certain);
    characters_.given = characters_.read - static_cast<std::int64_t>(held_.size());  // marks are ASCII
    give_arguments(items);
  }
}

void FormatParser::give_text(std::size_t bytes, Items& items) {
  characters_.given += count_characters(std::string_view(held_).substr(0, bytes));
  append_item(items, openai::TextDelta{held_.substr(0, bytes), take_entries()});
  held_.erase(0, bytes);
}

// Gives `bytes`, and drops `dropped` behind them, which belong to a mark.
void FormatParser::give_reasoning(std::size_t bytes, std::size_t dropped, Items& items) {
  characters_.given += count_characters(std::string_view(held_).substr(0, bytes + dropped));
  append_item(items, openai::ReasoningDelta{held_.substr(0, bytes), take_entries()});
  held_.erase(0, bytes + dropped);
  line_ends_ = std::min(line_ends_, held_.size());
  blank_ = 0;
}

void FormatParser::give_arguments(Items& items) {
  append_item(items, openai::ToolArgumentsDelta{calls_ - 1, std::exchange(arguments_, {}), take_entries()});
}

// The entries of tokens that begin in what has been given.
std::vector<openai::TokenEntry> FormatParser::take_entries() {
  const auto end = std::find_if(entries_.begin(), entries_.end(), [this](const openai::TokenEntry& entry) {
    return entry.text_offset >= characters_.given;
  });
  std::vector<openai::TokenEntry> taken(std::make_move_iterator(entries_.begin()), std::make_move_iterator(end));
  entries_.erase(entries_.begin(), end);
  return taken;
}

void FormatParser::end(openai::TextDelta rest, openai::Finish finish, Items& items) {
  push(std::move(rest), items);
  const bool is_unread_call = (state_ == State::kCall || state_ == State::kOpened) && !has_begun(reader_.get());
  const bool is_cut_call =
      setup_.hold == CallHold::kDemanded && (is_unread_call || state_ == State::kStart || state_ == State::kAfterCall);
  if (is_complete_) {
    held_.clear();
  } else if (is_cut_call) {
    held_.clear();  // nothing but a call may come: a part of one is of no use as text
    state_ = calls_ > 0 ? State::kAfterCall : State::kText;
  } else if (is_unread_call) {
    fail_call(items);
  } else if (state_ == State::kBroken || state_ == State::kCall) {
    close_broken(items);
  } else if (state_ == State::kAfterCall) {
    const std::string_view word = std::string_view(held_).substr(blank_);
    if (word.empty() || (!section_.is_closed && setup_.format->closer.starts_with(word))) {
      held_.clear();
    } else {
      state_ = State::kText;
    }
  }
  characters_.given = std::numeric_limits<std::int64_t>::max();  // every entry leaves
  if (state_ == State::kThink) {
    reasoning_.end = place_;
  }
  if (state_ == State::kThink || state_ == State::kAfterThink) {
    append_item(items, openai::ReasoningDelta{std::exchange(held_, {}), take_entries()});
  } else if (state_ == State::kAfterCall) {
    give_arguments(items);
  } else {
    append_item(items, openai::TextDelta{std::exchange(held_, {}), take_entries()});
  }
  if (calls_ > 0 && finish.reason == openai::FinishReason::kStop && !setup_.is_named) {
    finish.reason = openai::FinishReason::kToolCalls;
  }
  items.emplace_back(std::move(finish));
}

}  // namespace coppice::server
