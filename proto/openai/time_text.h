// Times as API fields write them: "30m".
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace coppice::openai {

// A whole number and `s`, `m`, `h` or `d`, from 1 second to `most`; nothing for anything else.
std::optional<std::chrono::seconds> parse_time(std::string_view text, std::chrono::seconds most);

}  // namespace coppice::openai
