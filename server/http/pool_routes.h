// What routes have in common whose work is done by the pool: those that answer with one JSON object, and those that
// start a generation or a reading.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "proto/openai/request.h"
#include "server/http/deferred_handler.h"
#include "server/http/generation_handler.h"
#include "server/http/reading_handler.h"
#include "server/http/route_call.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

// Bytes of a body that the I/O thread reads and tokenises itself: less work than handing it over, and never more than a
// millisecond or two.
inline constexpr std::int64_t kHereMax = 4096;

// The body has been read: what it held is gone, and no longer paid for.
void drop_body(RouteCall& call);

// Makes the body of a 200, or the error. On the pool; bodies of at most `here_max` bytes on the connection's thread.
using WriteBody = std::function<openai::Result<std::string>(const RouteCall& call, const JobContext& job)>;
std::unique_ptr<RequestHandler> defer(ServerState& state, const CallPointer& call, WriteBody write,
                                      std::int64_t here_max = kHereMax);

// Runs what was prepared and answers, or returns the handler that will. On the connection's thread.
using StartGeneration = std::function<std::unique_ptr<RequestHandler>(
    ServerState& state, const ModelHost& host, const CallPointer& call, GenerationHandler::Prepared prepared)>;

// A body that has been read: what to generate, who writes the answer, and what runs it.
struct ParsedGeneration {
  openai::GenerationRequest request;
  std::shared_ptr<openai::AnswerWriter> writer;
  StartGeneration start = &GenerationHandler::start;
};
// Reads a call's body. ERRORS: 400, 413.
using ParseGeneration = std::function<openai::Result<ParsedGeneration>(const RouteCall& call, const ModelHost& host)>;
// Parses, prepares and starts a generation. Bodies of at most `here_max` bytes are parsed on the connection's thread.
std::unique_ptr<RequestHandler> generate(ServerState& state, const CallPointer& call, std::int64_t here_max,
                                         ParseGeneration parse);

// Who an answer to this call says that it is.
openai::AnswerIdentity identity_of(const RouteCall& call, const ModelHost& host);

// A request that reads, and how its answer is written.
struct Reading {
  PreparedReading request;
  ReadingHandler::Write write;
  openai::IgnoredFields ignored = {};
};
// Parses and prepares a body. On the pool. ERRORS: any.
using PrepareReading = openai::Result<Reading> (*)(const ModelHost& host, std::string_view body, const JobContext& job);
// Prepares and starts a reading. Bodies of at most `here_max` bytes are parsed on the connection's thread.
std::unique_ptr<RequestHandler> read(ServerState& state, const CallPointer& call, std::int64_t here_max,
                                     PrepareReading prepare);

}  // namespace coppice::server
