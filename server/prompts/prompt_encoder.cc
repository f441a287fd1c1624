// Which special tokens go around which kind of prompt is decided here and nowhere else.
#include "server/prompts/prompt_encoder.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

#include "server/prompts/fill_in_middle.h"

namespace coppice::server {
namespace {

// A text gets the model's BOS; a chat template writes its own.
bool text_special(const std::optional<bool>& asked) {
  return asked.value_or(true);
}
bool chat_special(const std::optional<bool>& asked) {
  return asked.value_or(false);
}

// Of all prompts, as they came.
std::size_t prompt_bytes(const std::vector<openai::Prompt>& prompts) {
  std::size_t bytes = 0;
  for (const openai::Prompt& prompt : prompts) {
    const auto* const text = std::get_if<std::string>(&prompt);
    bytes += text != nullptr ? text->size() : std::get<TokenIds>(prompt).size() * sizeof(TokenId);
  }
  return bytes;
}

}  // namespace

openai::Result<TokenIds> PromptEncoder::encode_text(const char* param, std::string_view text,
                                                    text::EncodeOptions options, const JobMemory& memory) const {
  if (openai::MaybeError error = memory.hold(text.size() + tokenizer_->encode_memory(text))) {
    return *std::move(error);
  }
  absl::StatusOr<TokenIds> ids = tokenizer_->encode(text, options);
  if (!ids.ok()) {
    return openai::bad_value(param, std::string(ids.status().message()));
  }
  return *std::move(ids);
}

openai::Result<TokenIds> PromptEncoder::encode_chat(const openai::ChatFields& chat,
                                                    const std::optional<bool>& add_special,
                                                    const JobContext& job) const {
  if (prompter_ != nullptr) {
    return prompter_->tokenize(chat, chat_special(add_special), *limits_, job);
  }
  return openai::bad_value("messages", problem_.empty()
                                           ? "this model has no chat template: use /v1/completions"
                                           : fmt::format("this model's chat template cannot be used: {}", problem_));
}

openai::Result<std::vector<TokenIds>> PromptEncoder::encode(const openai::GenerationRequest& request,
                                                            const JobContext& job) const {
  std::vector<TokenIds> prompts;
  if (request.kind == openai::RequestKind::kChat) {
    openai::Result<TokenIds> ids = encode_chat(request.chat, request.add_special_tokens, job);
    if (!ids.ok()) {
      return std::move(ids.error());
    }
    prompts.push_back(std::move(ids.value()));
    return prompts;
  }
  JobMemory memory{job, prompt_bytes(request.prompts) + request.suffix.size()};
  for (const openai::Prompt& prompt : request.prompts) {
    if (job.is_cancelled()) {
      return openai::cancelled();
    }
    openai::Result<TokenIds> ids = request.suffix.empty()
                                       ? encode_prompt(request, prompt, /*adds_special=*/true, memory)
                                       : encode_between(request, prompt, memory);
    if (!ids.ok()) {
      return std::move(ids.error());
    }
    memory.held += ids.value().capacity() * sizeof(TokenId);
    prompts.push_back(std::move(ids.value()));
  }
  return prompts;
}

openai::Result<std::vector<TokenIds>> PromptEncoder::encode(const openai::EmbeddingRequest& request,
                                                            const JobContext& job) const {
  std::vector<TokenIds> inputs;
  JobMemory memory{job, prompt_bytes(request.inputs)};
  for (const openai::Prompt& input : request.inputs) {
    if (job.is_cancelled()) {
      return openai::cancelled();
    }
    if (const auto* const ids = std::get_if<TokenIds>(&input)) {
      inputs.push_back(*ids);
      continue;
    }
    const auto& text = std::get<std::string>(input);
    if (openai::MaybeError error = check_prompt_bytes("input", text.size(), *limits_)) {
      return *std::move(error);
    }
    openai::Result<TokenIds> ids = encode_text(
        "input", text, {.add_special = text_special(request.add_special_tokens), .parse_special = false}, memory);
    if (!ids.ok()) {
      return std::move(ids.error());
    }
    memory.held += ids.value().capacity() * sizeof(TokenId);
    inputs.push_back(std::move(ids.value()));
  }
  return inputs;
}

openai::Result<TokenIds> PromptEncoder::encode_prompt(const openai::GenerationRequest& request,
                                                      const openai::Prompt& prompt, bool adds_special,
                                                      const JobMemory& memory) const {
  if (const auto* const ids = std::get_if<TokenIds>(&prompt)) {
    return *ids;
  }
  const auto& text = std::get<std::string>(prompt);
  if (openai::MaybeError error = check_prompt_bytes("prompt", text.size(), *limits_)) {
    return *std::move(error);
  }
  return encode_text(
      "prompt", text,
      {.add_special = adds_special && text_special(request.add_special_tokens), .parse_special = request.parse_special},
      memory);
}

openai::Result<TokenIds> PromptEncoder::encode_between(const openai::GenerationRequest& request,
                                                       const openai::Prompt& prompt, const JobMemory& memory) const {
  const std::optional<FillInMiddle> tokens = FillInMiddle::of(*tokenizer_);
  if (!tokens) {
    return openai::not_supported(
        "suffix", "'suffix' needs a model with tokens for filling in the middle; this one has none: leave it out");
  }
  if (openai::MaybeError error = check_prompt_bytes("suffix", request.suffix.size(), *limits_)) {
    return *std::move(error);
  }
  openai::Result<TokenIds> before = encode_prompt(request, prompt, /*adds_special=*/false, memory);
  if (!before.ok()) {
    return before;
  }
  openai::Result<TokenIds> after =
      encode_text("suffix", request.suffix, {.add_special = false, .parse_special = request.parse_special},
                  {memory.job, memory.held + before.value().capacity() * sizeof(TokenId)});
  if (!after.ok()) {
    return after;
  }
  TokenIds ids;
  if (text_special(request.add_special_tokens) && tokenizer_->special().add_bos) {
    ids.push_back(tokenizer_->special().bos);
  }
  tokens->append(before.value(), after.value(), ids);
  return ids;
}

openai::Result<TokenIds> PromptEncoder::encode(const openai::TokenizeRequest& request, const JobContext& job) const {
  if (!request.is_chat) {
    return encode_text(
        request.prompt_name, request.prompt,
        {.add_special = text_special(request.add_special_tokens), .parse_special = request.parse_special}, {job});
  }
  return encode_chat(request.chat, request.add_special_tokens, job);
}

openai::Result<TokenIds> PromptEncoder::encode_output(const char* param, std::string_view text,
                                                      const JobContext& job) const {
  return encode_text(param, text, {.add_special = false, .parse_special = false}, {job});
}

text::Detokenizer PromptEncoder::decoder_after(std::span<const TokenId> prompt, bool skip_special,
                                               bool is_echoed) const {
  text::Detokenizer decoder = text::Detokenizer::after(*tokenizer_, {.skip_special = skip_special}, prompt);
  if (!is_echoed) {
    decoder.disown_pending();
  }
  return decoder;
}

}  // namespace coppice::server
