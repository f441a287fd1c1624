// ChatPrompter: a conversation to the token ids a model was trained on. The templates are the model's; what users wrote
// can never become a control token, whatever they write (control_tokens.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/openai/request.h"
#include "server/prompts/control_tokens.h"
#include "server/prompts/template_form.h"
#include "server/work/job_context.h"
#include "text/jinja/chat_template.h"
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_config.h"

namespace coppice::server {

// Owner: the model host. Immutable; any thread.
class ChatPrompter {
 public:
  // Compiles the configuration's chat templates. ERRORS: InvalidArgument when none compiles. REQUIRES: there is one;
  // the tokenizer outlives the prompter.
  static absl::StatusOr<std::unique_ptr<ChatPrompter>> create(const text::TokenizerConfig& config,
                                                              const text::Tokenizer& tokenizer);

  // Which template: the one that the request names; else "tool_use", when there are tools and such a template; else
  // "default"; as transformers chooses.
  //
  // With continue_final_message the prompt ends exactly behind the final message's text. Where the template trims that
  // text, white space at its end is trimmed too, as in transformers.
  //
  // ERRORS: 400 with the template's own words when it refuses the conversation, or when its text cannot fit the model;
  // 413 and 429 for the memory that this takes.
  openai::Result<std::vector<TokenId>> tokenize(const openai::ChatFields& chat, bool add_special,
                                                const openai::RequestLimits& limits, const JobContext& job = {}) const;

  // A conversation as its template renders it, cut at the end of the last message's text. What users wrote is marked.
  struct Cut {
    std::string before;                     // up to the end of the message's text
    std::string after;                      // the end of the message, and the beginning of the answer
    const ControlTokens* tokens = nullptr;  // the template's
  };
  // REQUIRES: the last message has a text. ERRORS: as tokenize(); 501 when the template does not repeat that text as it
  // is, once.
  openai::Result<Cut> render_cut(const openai::ChatFields& chat, const openai::RequestLimits& limits,
                                 const JobContext& job = {}) const;
  // The tokens of marked text: a part of the cut, or parts with text of a user between them. ERRORS: 400 for text that
  // cannot be tokenised; 413 and 429.
  openai::Result<std::vector<TokenId>> encode_marked(const Cut& cut, std::string_view marked,
                                                     const JobMemory& memory) const;

  // Whether the template for conversations with tools writes `text`.
  bool writes(std::string_view text) const;

  // Whether ids of tool calls must be nine letters and digits for the template that the request gets.
  bool has_short_call_ids(const openai::ChatFields& chat) const;

 private:
  // One chat template. A `problem` is why it cannot be used; then the rest is empty.
  struct Template {
    std::string name;
    std::string problem;
    std::optional<jinja::ChatTemplate> program;
    std::optional<ControlTokens> tokens;
    std::optional<TemplateForm> form;
  };

  ChatPrompter(const text::TokenizerConfig& config, const text::Tokenizer& tokenizer);

  const Template* find(std::string_view name) const;
  openai::Result<const Template*> choose(const openai::ChatFields& chat) const;
  openai::Json context(const openai::ChatFields& chat, const Template& used, const openai::RequestLimits& limits,
                       bool drops_odd_arguments) const;
  openai::Result<std::string> render(const openai::ChatFields& chat, const Template& used,
                                     const openai::RequestLimits& limits) const;
  openai::Result<std::string> render_context(const openai::ChatFields& chat, const Template& used,
                                             const openai::RequestLimits& limits) const;
  openai::Result<std::vector<TokenId>> encode(const ControlTokens& tokens, std::string_view marked, bool add_special,
                                              const JobMemory& memory) const;
  // The prompt of a conversation whose final message goes on, marks included.
  openai::Result<std::string> render_open(const openai::ChatFields& chat, const Template& used,
                                          const openai::RequestLimits& limits) const;

  const text::Tokenizer& tokenizer_;
  openai::Json variables_;  // "bos_token" and the like
  std::vector<Template> templates_;
};

}  // namespace coppice::server
