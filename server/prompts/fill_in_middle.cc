// Families of code models, by how their tokens are spelled.
#include "server/prompts/fill_in_middle.h"

#include <string_view>

namespace coppice::server {
namespace {

struct Family {
  std::string_view prefix;
  std::string_view suffix;
  std::string_view middle;  // empty: none, and the suffix comes first
};

constexpr Family kFamilies[] = {
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},  // Qwen2.5-Coder, CodeGemma
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},        // StarCoder, Granite
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},        // SantaCoder
    {"▁<PRE>", "▁<SUF>", "▁<MID>"},                          // Code Llama
    {"<PRE>", "<SUF>", "<MID>"},
    {"<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"},  // DeepSeek-Coder
    {"[PREFIX]", "[SUFFIX]", ""},                            // Codestral
};

}  // namespace

std::optional<FillInMiddle> FillInMiddle::of(const text::Tokenizer& tokenizer) {
  for (const Family& family : kFamilies) {
    const std::optional<TokenId> prefix = tokenizer.token_to_id(family.prefix);
    const std::optional<TokenId> suffix = tokenizer.token_to_id(family.suffix);
    const std::optional<TokenId> middle =
        family.middle.empty() ? std::optional<TokenId>(-1) : tokenizer.token_to_id(family.middle);
    if (prefix && suffix && middle) {
      return FillInMiddle{*prefix, *suffix, *middle, family.middle.empty()};
    }
  }
  return std::nullopt;
}

void FillInMiddle::append(std::span<const TokenId> before, std::span<const TokenId> after,
                          std::vector<TokenId>& prompt) const {
  const auto put = [&prompt](TokenId token, std::span<const TokenId> text) {
    prompt.push_back(token);
    prompt.insert(prompt.end(), text.begin(), text.end());
  };
  if (suffix_is_first) {
    put(suffix, after);
  }
  put(prefix, before);
  if (!suffix_is_first) {
    put(suffix, after);
  }
  if (middle >= 0) {
    prompt.push_back(middle);
  }
}

}  // namespace coppice::server
