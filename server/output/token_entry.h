// Logprob entries of tokens, as the writers need them: with bytes and with the place in the text.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/events.h"
#include "proto/openai/output_item.h"
#include "text/tokenizer/tokenizer.h"

namespace coppice::server {

// The entry of `info`, its bytes looked up.
openai::TokenEntry make_token_entry(const text::Tokenizer& tokenizer, const engine::TokenInfo& info,
                                    std::int64_t text_offset);

// Unicode characters in valid UTF-8.
std::int64_t count_characters(std::string_view utf8);

}  // namespace coppice::server
