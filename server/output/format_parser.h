// FormatParser: the items of an output in one of the formats of output_format.h, as they come.
//
// A state machine over bytes of text and special tokens: what it makes of an output does not depend on how that is cut
// into tokens. A call is one when its name is complete and is a declared tool's; until then it may become text again,
// from then on its arguments leave as they come. If they turn out to be malformed, what the model wrote from there on
// to the end mark is still given as arguments, as it is: a client sees JSON that does not parse, and nothing is lost.
//
// Where a grammar holds the calls (CallHold) what is read as one is what the grammar has seen as one: a call in another
// spelling than the template's is text. Of an answer that has to be calls what is cut off before a name is dropped.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/output/call_reader.h"
#include "server/output/mark_scan.h"
#include "server/output/output_parser.h"

namespace coppice::server {

// Owner: one choice. Thread: its session's.
class FormatParser final : public OutputParser {
 public:
  FormatParser(const openai::GenerationRequest& request, const ParserSetup& setup);

  std::optional<Terminal> mark_of(TokenId token) const override;
  void push(openai::TextDelta text, std::vector<openai::OutputItem>& items) override;
  void push_mark(Terminal mark, std::vector<openai::OutputItem>& items) override;
  bool is_complete() const override { return is_complete_; }
  void end(openai::TextDelta rest, openai::Finish finish, std::vector<openai::OutputItem>& items) override;
  Reasoning reasoning() const override { return reasoning_; }

 private:
  using Items = std::vector<openai::OutputItem>;

  enum class State : std::uint8_t {
    kStart,       // only white space came: what opens something may come
    kText,        // the answer
    kThink,       // reasoning
    kAfterThink,  // line ends behind it, which belong to its mark
    kOpened,      // calls have been opened, the next one's first byte has not come
    kCall,        // a call is read; it begins when its reader knows the tool
    kAfterCall,   // a call is complete
    kBroken,      // a call that has begun is malformed, and its arguments go on
  };

  void push_byte(char byte, Items& items);
  void read_start(char byte, Items& items);
  void read_text(char byte, Items& items);
  void read_think(char byte, Items& items);
  void read_opened(char byte, Items& items);
  void read_call(char byte, Items& items);
  void read_after_call(char byte, Items& items);
  void read_broken(char byte, Items& items);
  void read_mark_in_call(Terminal mark, Items& items);

  void open_think(Items& items);
  void open_calls(bool is_marked, bool is_in_function);
  void open_by_mark(bool is_in_function, Items& items);
  void close_calls(Items& items);
  void begin_call(Items& items);
  // `behind`: characters that have been read and are behind the call.
  void end_call(std::int64_t behind, Items& items);
  void close_broken(Items& items);
  void fail_call(Items& items);
  void replay_as_text(Items& items);

  // Gives bytes of what is held, or what is certain of it.
  void flush(Items& items);
  void give_text(std::size_t bytes, Items& items);
  void give_reasoning(std::size_t bytes, std::size_t dropped, Items& items);
  void give_arguments(Items& items);
  std::vector<openai::TokenEntry> take_entries();

  // What does not change.
  struct Setup {
    const ToolFormat* format;
    const ReasoningFormat* thinking;
    std::vector<MarkToken> marks;          // that come as tokens
    std::shared_ptr<const ToolSet> tools;  // null: no calls
    CallIds ids;
    bool is_named;        // the client named the tool: calling it is no choice of the model's
    bool is_single;       // at most one call
    bool thinks_by_text;  // the mark comes as text
    bool closes_by_text;
    bool is_held;
    CallHold hold;
    std::string_view spelling;  // what a call has to begin with to be one; "": whatever its reader reads
    bool is_list_tight;         // so has a list: with its bracket next to the first name
  };
  // Of the calls that are open.
  struct Section {
    bool is_marked = false;  // by more than the call's own first byte
    bool needs_list = false;
    bool is_joined = false;   // a call has come
    std::size_t spelled = 0;  // bytes of `spelling` that the call has begun with
    bool is_closed = false;
    bool is_in_reasoning = false;  // until its first call begins
  };
  // Characters of the output's text: read, read before the present byte, and given away.
  struct Characters {
    std::int64_t read = 0;
    std::int64_t before = 0;
    std::int64_t given = 0;
  };

  const Setup setup_;
  MarkScan text_marks_;
  MarkScan think_marks_;
  MarkScan broken_marks_;
  State state_ = State::kStart;
  std::string held_;           // text of which it is not certain what it is
  std::size_t blank_ = 0;      // kStart, kAfterCall: bytes of white space that it begins with
  std::size_t line_ends_ = 0;  // kThink: bytes of line ends that it ends with, before what may be a mark
  bool may_think_ = false;
  bool has_thought_ = false;
  Section section_;
  std::unique_ptr<CallReader> reader_;
  std::string arguments_;  // of the call, not given yet
  std::int32_t calls_ = 0;
  std::deque<openai::TokenEntry> entries_;  // not given yet
  Characters characters_;
  std::int64_t place_ = 0;  // as in Reasoning
  Reasoning reasoning_;
  bool is_complete_ = false;
};

}  // namespace coppice::server
