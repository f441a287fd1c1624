// Token entries.
#include "server/output/token_entry.h"

#include <algorithm>

namespace coppice::server {

openai::TokenEntry make_token_entry(const text::Tokenizer& tokenizer, const engine::TokenInfo& info,
                                    std::int64_t text_offset) {
  openai::TokenEntry entry;
  entry.token = info.token;
  entry.logprob = info.logprob;
  entry.bytes = tokenizer.token_bytes(info.token);
  entry.text_offset = text_offset;
  entry.top.reserve(info.top.size());
  for (const engine::TokenLogprob& top : info.top) {
    entry.top.push_back({top.token, top.logprob, tokenizer.token_bytes(top.token)});
  }
  return entry;
}

std::int64_t count_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; });
}

}  // namespace coppice::server
