// PromptEncoder: the one way from what a client writes to the token ids that the model gets. Requests of every front
// end, batches, pinned prompts, /tokenize, corpora and predictions go through it, so the same prompt is always the same
// tokens, and a prefix computed for one is found by the others.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "proto/openai/decision.h"
#include "proto/openai/embedding.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/request.h"
#include "server/prompts/chat_prompter.h"
#include "server/work/job_context.h"
#include "text/tokenizer/detokenizer.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

using TokenIds = std::vector<TokenId>;

// What a decision request becomes: texts that begin with the same tokens.
struct DecisionPrompt {
  struct Question {
    TokenIds tokens;  // behind the prompt
    TokenIds labels;  // one an option: the token that would be the answer
  };

  TokenIds prompt;
  std::vector<Question> questions;
};

// A view of a model's tokenizer, template and limits, which outlive it. Thread: any.
class PromptEncoder {
 public:
  // `prompter` is null for a model without a chat template, or with one that does not compile: `problem` then says why.
  PromptEncoder(const text::Tokenizer& tokenizer, const ChatPrompter* prompter, const openai::RequestLimits& limits,
                std::string_view problem = "")
      : tokenizer_(&tokenizer), prompter_(prompter), limits_(&limits), problem_(problem) {}

  // One list of tokens for each prompt of the request, in order; a chat is one prompt. REQUIRES: validate()d. ERRORS:
  // 400 for text that cannot be tokenised or cannot fit the model, and for a conversation that the template refuses;
  // 413 and 429 for the memory that this takes; 499 when the client has left, which is looked at before each prompt.
  openai::Result<std::vector<TokenIds>> encode(const openai::GenerationRequest& request,
                                               const JobContext& job = {}) const;
  // The same prompt gives the same tokens as above. Text may be longer than the context: to
  // count its tokens is a use of it.
  openai::Result<TokenIds> encode(const openai::TokenizeRequest& request, const JobContext& job = {}) const;
  // One list of tokens for each input. ERRORS: 400, 413, 429, 499 as above.
  openai::Result<std::vector<TokenIds>> encode(const openai::EmbeddingRequest& request,
                                               const JobContext& job = {}) const;
  // ERRORS: 400 for a conversation that the template refuses, and where a question has more options than the tokenizer
  // has labels; 413, 429, 499; 501 for a model without a chat template, and for one whose template repeats the input in
  // another form or whose answers always begin with reasoning.
  openai::Result<DecisionPrompt> encode(const openai::DecisionRequest& request, const JobContext& job = {}) const;
  // Text as the model itself writes it: no tokens around it, special tokens are text. `param` is the field it came in.
  openai::Result<TokenIds> encode_output(const char* param, std::string_view text, const JobContext& job = {}) const;

  // The decoder of what follows `prompt`: the answer's first word keeps its space, a character cut in two is completed,
  // and if it is not, its first half is the prompt's and gives no text. `is_echoed`: the prompt's text up to that half
  // is part of the answer, so the half is, too.
  text::Detokenizer decoder_after(std::span<const TokenId> prompt, bool skip_special, bool is_echoed = false) const;

 private:
  openai::Result<TokenIds> encode_chat(const openai::ChatFields& chat, const std::optional<bool>& add_special,
                                       const JobContext& job) const;
  openai::Result<TokenIds> encode_prompt(const openai::GenerationRequest& request, const openai::Prompt& prompt,
                                         bool adds_special, const JobMemory& memory) const;
  // The prompt of the answer between `prompt` and the request's suffix.
  openai::Result<TokenIds> encode_between(const openai::GenerationRequest& request, const openai::Prompt& prompt,
                                          const JobMemory& memory) const;
  openai::Result<TokenIds> encode_text(const char* param, std::string_view text, text::EncodeOptions options,
                                       const JobMemory& memory) const;

  const text::Tokenizer* tokenizer_;
  const ChatPrompter* prompter_;
  const openai::RequestLimits* limits_;
  std::string_view problem_;
};

}  // namespace coppice::server
