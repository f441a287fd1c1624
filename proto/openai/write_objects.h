// Writers of the small response objects: models, and the answers of the tokenizer routes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace coppice::openai {

struct ModelCard {
  std::string id;
  std::int64_t created_s = 0;
  std::int64_t model_tokens_max = 0;
};
std::string write_model(const ModelCard& card);
std::string write_model_list(std::span<const ModelCard> cards);

// {"count","max_model_len","tokens","token_strs"}, as vLLM.
std::string write_tokenize(std::span<const TokenId> tokens, std::int64_t model_tokens_max,
                           const std::vector<std::string>* token_strs);
// {"prompt"}
std::string write_detokenize(std::string_view text);

}  // namespace coppice::openai
