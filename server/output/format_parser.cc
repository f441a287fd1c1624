// States of the output, one function each.
#include "server/output/format_parser.h"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "server/output/token_entry.h"

namespace coppice::server {
namespace {

// Special tokens that are shown come as text alone.
std::vector<MarkToken> token_marks(const openai::GenerationRequest& request, const ParserSetup& setup) {
  return request.skip_special_tokens ? setup.rules->marks() : std::vector<MarkToken>();
}

bool comes_as_text(Terminal terminal, const std::vector<MarkToken>& tokens) {
  return std::none_of(tokens.begin(), tokens.end(),
                      [terminal](const MarkToken& mark) { return mark.terminal == terminal; });
}

// Those of `terminals` that are looked for in text.
std::vector<MarkScan::Mark> text_marks(const OutputRules& rules, const std::vector<MarkToken>& tokens,
                                       std::initializer_list<Terminal> terminals) {
  std::vector<MarkScan::Mark> marks;
  for (const Terminal terminal : terminals) {
    const std::string_view text = rules.text_of(terminal);
    if (text.size() > 1 && comes_as_text(terminal, tokens)) {
      marks.push_back({terminal, std::string(text)});
    }
  }
  return marks;
}

std::vector<MarkScan::Mark> marks_of_text(const OutputRules& rules, const std::vector<MarkToken>& tokens, bool calls,
                                          CallHold hold) {
  if (!calls) {
    return {};
  }
  // Of an opener that is a token the grammar sees nothing else.
  const bool has_function = hold != CallHold::kInText || comes_as_text(Terminal::kCall, tokens);
  return has_function ? text_marks(rules, tokens, {Terminal::kCall, Terminal::kFunction})
                      : text_marks(rules, tokens, {Terminal::kCall});
}

// What begins a call where its section may begin without a mark, so that the grammar takes it for one.
std::string_view spelling_of(const ToolFormat& format, CallHold hold) {
  const bool is_free = hold == CallHold::kNone || hold == CallHold::kDemanded || format.start == 0;
  return is_free || format.shape != CallShape::kJson ? "" : kNamedObject;
}

std::vector<MarkScan::Mark> marks_of_reasoning(const OutputRules& rules, const std::vector<MarkToken>& tokens,
                                               bool calls) {
  return calls && rules.tools().ends_reasoning
             ? text_marks(rules, tokens, {Terminal::kEndThink, Terminal::kCall, Terminal::kFunction})
             : text_marks(rules, tokens, {Terminal::kEndThink});
}

std::vector<MarkScan::Mark> marks_of_broken(const OutputRules& rules, const std::vector<MarkToken>& tokens) {
  std::vector<MarkScan::Mark> marks =
      text_marks(rules, tokens, {Terminal::kClose, Terminal::kCall, Terminal::kFunction});
  if (rules.tools().shape == CallShape::kXml) {
    marks.push_back({Terminal::kClose, "</function>"});
  }
  return marks;
}

}  // namespace

FormatParser::FormatParser(const openai::GenerationRequest& request, const ParserSetup& setup)
    : setup_{.format = &setup.rules->tools(),
             .thinking = &setup.rules->reasoning(),
             .marks = token_marks(request, setup),
             .tools = setup.rules->tools().is_none() ? nullptr : setup.tools,
             .ids = setup.ids,
             .is_named = request.chat.tool_choice == openai::ToolChoice::kNamed,
             .is_single = !request.chat.parallel_tool_calls,
             .thinks_by_text = comes_as_text(Terminal::kThink, setup_.marks),
             .closes_by_text = comes_as_text(Terminal::kClose, setup_.marks),
             .is_held = setup.is_held,
             .hold = setup.hold,
             .spelling = spelling_of(setup.rules->tools(), setup.hold),
             .is_list_tight = setup.hold == CallHold::kInText && setup.rules->tools().start != 0 &&
                              setup.rules->tools().list_open != 0},
      text_marks_(marks_of_text(*setup.rules, setup_.marks, setup_.tools != nullptr, setup.hold)),
      think_marks_(marks_of_reasoning(*setup.rules, setup_.marks, setup_.tools != nullptr && !setup.is_held)),
      broken_marks_(marks_of_broken(*setup.rules, setup_.marks)),
      may_think_(!setup_.thinking->is_none() && setup.start == ReasoningStart::kUnsaid) {
  if (!setup_.thinking->is_none() && setup.start == ReasoningStart::kOpen) {
    state_ = State::kThink;
  }
  reasoning_.is_over = !may_think_ && state_ != State::kThink;
}

std::optional<Terminal> FormatParser::mark_of(TokenId token) const {
  const auto found = std::find_if(setup_.marks.begin(), setup_.marks.end(),
                                  [token](const MarkToken& mark) { return mark.token == token; });
  return found == setup_.marks.end() ? std::nullopt : std::optional(found->terminal);
}

void FormatParser::push(openai::TextDelta text, Items& items) {
  entries_.insert(entries_.end(), std::make_move_iterator(text.tokens.begin()),
                  std::make_move_iterator(text.tokens.end()));
  for (const char byte : text.text) {
    constexpr unsigned kTailMask = 0xC0;  // bits that mark
    constexpr unsigned kTail = 0x80;      // a byte inside a character
    ++place_;
    characters_.before = characters_.read;
    characters_.read += (static_cast<unsigned char>(byte) & kTailMask) == kTail ? 0 : 1;
    push_byte(byte, items);
  }
  flush(items);
}

void FormatParser::push_byte(char byte, Items& items) {
  if (is_complete_) {
    return;
  }
  switch (state_) {
    case State::kStart:
      return read_start(byte, items);
    case State::kText:
      return read_text(byte, items);
    case State::kThink:
      return read_think(byte, items);
    case State::kAfterThink:
      held_ += byte;
      if (byte == '\n') {
        return give_reasoning(0, 1, items);
      }
      held_.clear();
      state_ = State::kStart;
      return read_start(byte, items);
    case State::kOpened:
      return read_opened(byte, items);
    case State::kCall:
      return read_call(byte, items);
    case State::kAfterCall:
      return read_after_call(byte, items);
    case State::kBroken:
      return read_broken(byte, items);
  }
}

void FormatParser::read_start(char byte, Items& items) {
  held_ += byte;
  if (is_space(byte) && blank_ + 1 == held_.size()) {
    ++blank_;
    return;
  }
  const std::string_view word = std::string_view(held_).substr(blank_);
  bool may_go_on = false;
  if (may_think_ && setup_.thinks_by_text) {
    if (word == setup_.thinking->open) {
      return open_think(items);
    }
    may_go_on = setup_.thinking->open.starts_with(word);
  }
  if (setup_.tools != nullptr && setup_.format->start != 0 && word.front() == setup_.format->start) {
    held_.pop_back();
    open_calls(/*is_marked=*/setup_.hold == CallHold::kDemanded, /*is_in_function=*/false);
    return read_opened(byte, items);
  }
  const MarkScan::Mark* const mark = text_marks_.find(word);
  if (mark != nullptr) {
    return open_calls(/*is_marked=*/true, mark->terminal == Terminal::kFunction);
  }
  if (!may_go_on && !text_marks_.may_begin(word)) {
    replay_as_text(items);
  }
}

void FormatParser::read_text(char byte, Items& items) {
  held_ += byte;
  if (setup_.hold == CallHold::kInstead) {
    return;  // JSON, whatever its texts look like
  }
  const MarkScan::Mark* const mark = text_marks_.push(byte);
  if (mark != nullptr) {
    give_text(held_.size() - mark->text.size(), items);
    open_calls(/*is_marked=*/true, mark->terminal == Terminal::kFunction);
  }
}

void FormatParser::read_think(char byte, Items& items) {
  held_ += byte;
  if (byte == '\n' && !has_thought_) {
    reasoning_.end = place_;
    return give_reasoning(0, held_.size(), items);
  }
  has_thought_ = true;
  const std::size_t before = think_marks_.depth();
  const MarkScan::Mark* const mark = think_marks_.push(byte);
  if (mark == nullptr) {
    const std::size_t depth = think_marks_.depth();
    const bool is_same_run = before == 0 || depth == before + 1;
    if (depth == 0) {
      line_ends_ = byte != '\n' ? 0 : is_same_run ? line_ends_ + 1 : 1;
    } else if (!is_same_run) {
      line_ends_ = 0;
    }
    reasoning_.end = place_ - static_cast<std::int64_t>(depth);
    return;
  }
  const std::size_t end = held_.size() - mark->text.size() - line_ends_;
  if (mark->terminal == Terminal::kEndThink) {
    reasoning_ = {place_, /*is_over=*/true};
    give_reasoning(end, held_.size() - end, items);
    state_ = State::kAfterThink;
    may_think_ = false;
    return;
  }
  give_reasoning(end, 0, items);
  open_calls(/*is_marked=*/true, mark->terminal == Terminal::kFunction);
  section_.is_in_reasoning = true;
}

void FormatParser::read_opened(char byte, Items& items) {
  if (is_space(byte)) {
    held_ += byte;
  } else if (section_.needs_list && byte == setup_.format->list_open) {
    held_ += byte;
    section_.needs_list = false;
  } else if (setup_.is_list_tight && !section_.is_joined &&
             (section_.needs_list || held_.back() != setup_.format->list_open)) {
    fail_call(items);
    push_byte(byte, items);
  } else {
    section_.spelled = 0;
    reader_ = make_call_reader(*setup_.format, *setup_.tools, /*is_in_function=*/false, section_.is_marked);
    state_ = State::kCall;
    read_call(byte, items);
  }
}

void FormatParser::read_call(char byte, Items& items) {
  const bool had_begun = has_begun(reader_.get());
  const bool is_off =
      !had_begun && section_.spelled < setup_.spelling.size() && byte != setup_.spelling[section_.spelled++];
  const Read read = is_off ? Read::kFailed : reader_->push(byte, arguments_);
  if (has_begun(reader_.get()) && !had_begun) {
    begin_call(items);
  }
  switch (read) {
    case Read::kMore:
      if (!has_begun(reader_.get())) {
        held_ += byte;
      }
      return;
    case Read::kDone:
      return end_call(0, items);
    case Read::kDoneBefore:
      end_call(characters_.read - characters_.before, items);
      return push_byte(byte, items);
    case Read::kFailed:
      if (has_begun(reader_.get())) {
        state_ = State::kBroken;
        broken_marks_.reset();
      } else {
        fail_call(items);
      }
      return push_byte(byte, items);
  }
}

void FormatParser::read_after_call(char byte, Items& items) {
  held_ += byte;
  if (is_space(byte) && blank_ + 1 == held_.size()) {
    ++blank_;
    return;
  }
  const std::string_view word = std::string_view(held_).substr(blank_);
  const ToolFormat& format = *setup_.format;
  const bool may_close = !section_.is_closed && setup_.closes_by_text && format.closer.starts_with(word);
  if (may_close && word == format.closer) {
    return close_calls(items);
  }
  const bool may_join = !section_.is_closed || format.closer.empty();
  const bool is_joined = may_join && word.size() == 1 && word.front() == format.joiner;
  const MarkScan::Mark* const mark = text_marks_.find(word);
  const bool may_go_on = may_close || text_marks_.may_begin(word);
  if (setup_.is_single && !may_close) {
    is_complete_ = mark != nullptr || is_joined || !may_go_on;
  } else if (is_joined) {
    section_.needs_list = false;
    section_.is_marked = true;
    section_.is_joined = true;
    state_ = State::kOpened;
  } else if (mark != nullptr) {
    open_calls(/*is_marked=*/true, mark->terminal == Terminal::kFunction);
  } else if (!may_go_on) {
    replay_as_text(items);
  }
}

void FormatParser::read_broken(char byte, Items& items) {
  held_ += byte;
  const MarkScan::Mark* const mark = broken_marks_.push(byte);
  if (mark == nullptr) {
    return;
  }
  const std::string text = mark->text;
  held_.erase(held_.size() - text.size());
  arguments_ += held_;
  const bool is_closer = mark->terminal == Terminal::kClose;
  end_call(is_closer ? 0 : static_cast<std::int64_t>(text.size()), items);
  if (is_closer) {
    close_calls(items);
  } else if (setup_.is_single) {
    is_complete_ = true;
  } else {
    held_ = text;
    open_calls(/*is_marked=*/true, mark->terminal == Terminal::kFunction);
  }
}

void FormatParser::open_think(Items& items) {
  state_ = State::kThink;
  reasoning_ = {place_, /*is_over=*/false};
  give_reasoning(0, held_.size(), items);
}

// What is held stays, until a call begins.
void FormatParser::open_calls(bool is_marked, bool is_in_function) {
  section_ = {.is_marked = is_marked, .needs_list = setup_.format->list_open != 0};
  state_ = State::kOpened;
  reader_.reset();
  if (is_in_function) {
    reader_ = make_call_reader(*setup_.format, *setup_.tools, /*is_in_function=*/true, is_marked);
    state_ = State::kCall;
  }
}

void FormatParser::begin_call(Items& items) {
  reasoning_.is_over = true;
  section_.is_in_reasoning = false;
  may_think_ = false;
  held_.clear();
  characters_.given = characters_.read;
  openai::ToolCallBegin begin;
  begin.call = calls_++;
  begin.id = setup_.ids.next();
  begin.name = reader_->tool()->name;
  begin.tokens = take_entries();
  items.emplace_back(std::move(begin));
}

void FormatParser::end_call(std::int64_t behind, Items& items) {
  characters_.given = characters_.read - behind;
  held_.clear();
  give_arguments(items);
  reader_.reset();
  state_ = State::kAfterCall;
  blank_ = 0;
  section_.is_closed = setup_.format->closer.empty();
  is_complete_ = setup_.is_single && section_.is_closed;
}

// The closer came.
void FormatParser::close_calls(Items& items) {
  characters_.given = characters_.read;
  held_.clear();
  blank_ = 0;
  give_arguments(items);
  section_.is_closed = true;
  is_complete_ = setup_.is_single;
}

// No call: what is held is text, or goes on being reasoning.
void FormatParser::fail_call(Items& items) {
  reader_.reset();
  if (section_.is_in_reasoning) {
    state_ = State::kThink;
    think_marks_.reset();
    line_ends_ = 0;
    reasoning_.end = place_ - 1;
    give_reasoning(held_.size(), 0, items);
    return;
  }
  state_ = State::kText;
  reasoning_.is_over = true;
  may_think_ = false;
  text_marks_.reset();
  give_text(held_.size(), items);
}

// What is held is no mark: text, in which a mark may begin all the same.
void FormatParser::replay_as_text(Items& items) {
  state_ = State::kText;
  reasoning_.is_over = true;
  may_think_ = false;
  text_marks_.reset();
  const std::string bytes = std::exchange(held_, {});
  for (const char byte : bytes) {
    push_byte(byte, items);
  }
}

}  // namespace coppice::server
