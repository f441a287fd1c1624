// ResponseOutput: grows the items of a response out of the pieces of an answer, and reports each step as events when
// the response is streamed.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "proto/openai/answer.h"
#include "proto/openai/response_events.h"

namespace coppice::openai {

// Owner: a writer. Thread: its owner's.
class ResponseOutput {
 public:
  // The items' ids are made of the response's.
  explicit ResponseOutput(std::string_view response_id);

  // `events` is null when the response is not streamed.
  void add(const ChoiceDelta& delta, ResponseEvents* events);
  // Ends the item that is open. An answer without any item becomes an empty message.
  void end(ResponseEvents* events);

  const std::vector<ResponseItem>& items() const { return items_; }
  // The answer was ended by its length.
  bool is_cut() const { return is_cut_; }
  // Memory of the items.
  std::size_t bytes() const { return bytes_; }

 private:
  // One overload a kind of piece.
  void take(const TextDelta& piece, ResponseEvents* events);
  void take(const ReasoningDelta& piece, ResponseEvents* events);
  void take(const ToolCallBegin& piece, ResponseEvents* events);
  void take(const ToolArgumentsDelta& piece, ResponseEvents* events);
  void take(const Finish& piece, ResponseEvents* events);

  void begin(ResponseItem item, ResponseEvents* events);
  void add_text(ResponseItem::Kind kind, std::string_view text, const std::vector<TokenEntry>& tokens,
                ResponseEvents* events);
  void grow(std::string_view text, const std::vector<TokenEntry>& tokens, ResponseEvents* events);
  void close(ResponseEvents* events);

  const std::string base_;  // of the items' ids
  std::vector<ResponseItem> items_;
  std::size_t bytes_ = 0;
  bool is_open_ = false;  // the last item goes on
  bool is_cut_ = false;
};

}  // namespace coppice::openai
