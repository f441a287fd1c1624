// OutputRules: the formats of one model, with the special tokens that its tokenizer has for their marks. A mark that is
// no special token is text, however it is cut into tokens.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "server/output/output_format.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

struct MarkToken {
  TokenId token = 0;
  Terminal terminal = Terminal::kCall;
};

// Owner: the model host. Immutable; any thread.
class OutputRules {
 public:
  // No calls, no reasoning.
  OutputRules();
  OutputRules(const ToolFormat& tools, const ReasoningFormat& reasoning, const text::Tokenizer& tokenizer);

  const ToolFormat& tools() const { return *tools_; }
  const ReasoningFormat& reasoning() const { return *reasoning_; }

  // Marks that are special tokens.
  const std::vector<MarkToken>& marks() const { return marks_; }
  std::optional<TokenId> token_of(Terminal terminal) const;
  // A mark's text; "" for one that the formats do not have.
  std::string_view text_of(Terminal terminal) const;

 private:
  const ToolFormat* tools_;
  const ReasoningFormat* reasoning_;
  std::vector<MarkToken> marks_;
};

// Where an answer begins: what its prompt has opened.
enum class ReasoningStart : std::uint8_t {
  kUnsaid,  // the model may open its reasoning
  kOpen,    // the prompt has opened it
  kOver,    // the prompt has closed it: all is the answer
};

// From a prompt's last tokens, the white space at their end left out.
ReasoningStart reasoning_start(const std::vector<TokenId>& prompt, const ReasoningFormat& format,
                               const text::Tokenizer& tokenizer);
// From the text of a message that the answer continues. kUnsaid: it says nothing of reasoning.
ReasoningStart reasoning_start(std::string_view message, const ReasoningFormat& format);

}  // namespace coppice::server
