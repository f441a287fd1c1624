// New names are 128 random bits.
#include "server/sessions/request_id.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>

namespace coppice::server {

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= kRequestIdMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != '"'; });
}

std::string choose_request_id(std::string_view given) {
  if (is_request_id(given)) {
    return std::string(given);
  }
  std::random_device entropy;
  std::array<std::uint32_t, 4> words{};
  std::generate(words.begin(), words.end(), [&entropy] { return entropy(); });
  return fmt::format("{:08x}{:08x}{:08x}{:08x}", words[0], words[1], words[2], words[3]);
}

}  // namespace coppice::server
