// The status line and the header fields of an answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/http/exchange.h"

namespace coppice::server {

// How a client knows where the body ends.
enum class Framing : std::uint8_t { kLength, kChunks, kUntilClose };

// Appends to `out`. `more`: further fields, each with its line's end.
void write_response_head(const HttpResponse& response, std::string_view more, Framing framing, bool keep_alive,
                         std::string& out);

}  // namespace coppice::server
