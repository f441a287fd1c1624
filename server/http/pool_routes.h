// What routes have in common whose work is done by the pool: those that answer with one JSON object, and those that
// start a generation.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "proto/openai/request.h"
#include "server/http/deferred_handler.h"
#include "server/http/route_call.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// Bytes of a body that the I/O thread reads and tokenises itself: less work than handing it over, and never more than a
// millisecond or two.
inline constexpr std::size_t kHereMax = 4096;

// The body has been read: what it held is gone, and no longer paid for.
void drop_body(RouteCall& call);

// Makes the body of a 200, or the error. On the pool; small bodies on the connection's thread.
using WriteBody = std::function<openai::Result<std::string>(const RouteCall& call, const JobContext& job)>;
std::unique_ptr<RequestHandler> defer(ServerState& state, const CallPointer& call, WriteBody write);

// Reads a body. ERRORS: 400, 413.
using ParseGeneration = openai::Result<openai::GenerationRequest> (*)(std::string_view body,
                                                                      const openai::RequestLimits& limits);
// Parses, prepares and starts a generation. Bodies of at most `here_max` bytes are parsed on the connection's thread.
std::unique_ptr<RequestHandler> generate(ServerState& state, const CallPointer& call, std::size_t here_max,
                                         ParseGeneration parse);

}  // namespace coppice::server
