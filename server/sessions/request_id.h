// The name of a request in answers and logs, the same rule for every API.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace coppice::server {

inline constexpr std::size_t kRequestIdMax = 128;  // bytes of a client's own: three UUIDs; it is repeated in answers

// A client's own name for its request may be used: short, printable, without blanks and quotes.
bool is_request_id(std::string_view text);

// `given` if it may be used, else a new one.
std::string choose_request_id(std::string_view given);

}  // namespace coppice::server
