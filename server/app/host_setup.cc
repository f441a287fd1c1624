// From a model's folder to what sessions need of it beside the engine.
#include "server/app/host_setup.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "server/prompts/tokenizer_info.h"

namespace coppice::server {
namespace {

constexpr std::int64_t kTokenBytesMargin = 4;  // normalisation may shrink text before it is tokenised

// Text of one request: 1 MiB, and for long contexts 32 bytes a token, eight times what prose has. A model whose longest
// token is shorter than that needs less.
constexpr std::int64_t kTextBytesMin = std::int64_t{1} << 20U;
constexpr std::int64_t kTextBytesPerToken = 32;

std::int64_t longest_token(const text::Tokenizer& tokenizer) {
  std::size_t longest = 1;
  for (TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest, tokenizer.token_bytes(id).size());
  }
  return static_cast<std::int64_t>(longest);
}

}  // namespace

absl::Status load_text(const ModelPackage& package, ModelHost& host, const FormatNames& formats) {
  COPPICE_ASSIGN_OR_RETURN(ModelText text, package.text());
  host.tokenizer = std::move(text.tokenizer);
  host.tokenizer_info = write_tokenizer_info(text.config, *host.tokenizer);
  COPPICE_ASSIGN_OR_RETURN(host.defaults, package.generation_defaults());
  COPPICE_ASSIGN_OR_RETURN(host.embedding, package.embedding_defaults());
  if (text.config.chat_templates.empty()) {
    spdlog::info("the model has no chat template: /v1/chat/completions will refuse");
    return absl::OkStatus();
  }
  absl::StatusOr<std::unique_ptr<ChatPrompter>> prompter = ChatPrompter::create(text.config, *host.tokenizer);
  if (prompter.ok()) {
    host.prompter = *std::move(prompter);
  } else {
    host.prompter_problem = std::string(prompter.status().message());
    spdlog::warn("{}; /v1/chat/completions will refuse", host.prompter_problem);
  }
  host.output_rules = choose_formats(formats, host.prompter.get(), *host.tokenizer);
  return absl::OkStatus();
}

void open_grammars(const models::ModelConfig& config, const OutputGrammarsOptions& options, ModelHost& host) {
  OutputGrammarsOptions with_marks = options;
  for (const MarkToken& mark : host.output_rules.marks()) {
    with_marks.marks.push_back(mark.token);
  }
  spdlog::info("tool calls: {}; reasoning: {}", host.output_rules.tools().name, host.output_rules.reasoning().name);
  host.grammars = std::make_unique<OutputGrammars>(*host.tokenizer, config.vocab, config.eos, with_marks);
  if (!host.output_rules.reasoning().is_none()) {
    host.reasoning_tokens =
        std::make_unique<ReasoningTokens>(host.output_rules.reasoning(), *host.tokenizer, config.vocab, config.eos);
  }
}

void derive_request_limits(std::size_t body_bytes_max, const models::ModelConfig& config, ModelHost& host) {
  openai::RequestLimits& limits = host.request_limits;
  limits.body_bytes_max = body_bytes_max;
  limits.vocab = config.vocab;
  limits.hidden = config.hidden;
  limits.model_tokens_max = host.engine_limits.model_tokens_max;
  limits.token_bytes_max = longest_token(*host.tokenizer) * kTokenBytesMargin;
  limits.text_bytes_max =
      std::max(kTextBytesMin, std::min(limits.token_bytes_max, kTextBytesPerToken) * limits.model_tokens_max);
  limits.prompts_max = std::min<std::int64_t>(limits.prompts_max, host.engine_limits.queued_max);
  limits.inputs_max = std::min<std::int64_t>(limits.inputs_max, host.engine_limits.branches_max);
  limits.questions_max = std::min<std::int64_t>(limits.questions_max, host.engine_limits.branches_max);
  limits.question_choices_max = std::min<std::int64_t>(limits.question_choices_max, host.engine_limits.labels_max);
  limits.choices_max = host.engine_limits.choices_max;
  limits.top_logprobs_max = host.engine_limits.top_logprobs_max;
  limits.logit_bias_max = host.engine_limits.logit_bias_max;
  limits.stop_tokens_max = host.engine_limits.stop_tokens_max;
  if (host.tokenizer->vocab_size() > config.vocab) {
    spdlog::warn("the tokenizer has {} tokens, the model {}: text with the others will be refused",
                 host.tokenizer->vocab_size(), config.vocab);
  }
}

}  // namespace coppice::server
