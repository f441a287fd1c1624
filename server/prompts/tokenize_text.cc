// Text or a conversation to token ids.
#include "server/prompts/tokenize_text.h"

#include <fmt/format.h>

namespace coppice::server {

openai::MaybeError check_model(const ModelHost& host, const std::string& model) {
  if (model.empty() || model == host.name) {
    return std::nullopt;
  }
  return openai::not_found("model", "model_not_found",
                           fmt::format("the model '{}' does not exist; this server serves '{}'", model, host.name));
}

openai::Result<std::vector<TokenId>> tokenize_text(const ModelHost& host, const openai::TokenizeRequest& request) {
  if (openai::MaybeError error = check_model(host, request.model)) {
    return std::move(*error);
  }
  if (request.is_chat) {
    if (host.prompter == nullptr) {
      return openai::bad_value("messages", "this model has no chat template");
    }
    return host.prompter->tokenize(request.chat, request.add_special_tokens.value_or(false), host.request_limits);
  }
  text::EncodeOptions options;
  options.add_special = request.add_special_tokens.value_or(true);
  options.parse_special = request.parse_special;
  absl::StatusOr<std::vector<TokenId>> tokens = host.tokenizer->encode(request.prompt, options);
  if (!tokens.ok()) {
    return openai::bad_value("prompt", std::string(tokens.status().message()));
  }
  return *std::move(tokens);
}

}  // namespace coppice::server
