// Reads a line of JSON for each chat, {"templates": {name: source}, "added": [tokens], "body": request}, and answers
// with
// {"prompt": text, "tokens": [control tokens in it]} or {"error": message}. For tools/check_prompts.py.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/openai/json_reader.h"
#include "proto/openai/parse_request.h"
#include "server/prompts/chat_prompter.h"
#include "tests/support/test_tokenizer.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr TokenId kSpecials = 2;
constexpr int kBytes = 256;

text::TestTokenizer make_tokenizer(const std::vector<std::string>& added) {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < kBytes; ++byte) {
    bytes.emplace_back(1, static_cast<char>(byte));
  }
  return text::TestTokenizer(bytes, added);
}

Json answer(Json& question) {
  const text::TestTokenizer tokenizer = make_tokenizer(question["added"].get<std::vector<std::string>>());
  text::TokenizerConfig config;
  config.bos_token = "<s>";
  config.eos_token = "</s>";
  for (const auto& [name, source] : question["templates"].items()) {
    config.chat_templates.push_back({name, source});
  }
  const auto prompter = ChatPrompter::create(config, tokenizer);
  if (!prompter.ok()) {
    return {{"error", std::string(prompter.status().message())}};
  }
  openai::RequestLimits limits;
  limits.vocab = tokenizer.vocab_size();
  limits.model_tokens_max = 1 << 20;
  const auto request = openai::read_chat_request(std::move(question["body"]), limits);
  if (!request.ok()) {
    return {{"error", request.error().message}};
  }
  const auto ids = (*prompter)->tokenize(request.value().chat, false, limits);
  if (!ids.ok()) {
    return {{"error", ids.error().message}};
  }
  std::string prompt;
  Json tokens = Json::array();
  for (const TokenId id : ids.value()) {
    prompt += tokenizer.piece(id);
    if (id < kSpecials || id >= kSpecials + kBytes) {
      tokens.push_back(tokenizer.piece(id));
    }
  }
  return {{"prompt", prompt}, {"tokens", tokens}};
}

}  // namespace
}  // namespace coppice::server

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    auto question = coppice::openai::parse_json(line, {});
    std::cout << coppice::server::answer(question.value()).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace)
              << "\n";
  }
}
