// Route: one row of the table of HTTP routes: which requests it takes, who may send them, and the function that
// answers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/http/operation.h"
#include "server/http/route_call.h"
#include "server/sessions/server_state.h"

namespace coppice::server {

enum class Access : std::uint8_t { kKey, kPublic };
enum class Purpose : std::uint8_t { kInference, kAdministration };
// What a request's body is: other kinds are refused before it is read.
enum class BodyKind : std::uint8_t { kJson, kForm };
// kWhileServing: 503 while the model loads and while the server drains.
enum class Availability : std::uint8_t { kAlways, kWhileServing };

// A row. The names have static storage.
struct Route {
  // Answers through the call's exchange and returns null, or returns the handler that will answer.
  using Action = std::unique_ptr<RequestHandler> (*)(ServerState& state, const CallPointer& call);

  std::string_view method;
  // "/v1/models": this path. "{name}" stands for one segment that is not empty, "{name...}", at the end, for all that
  // follows, at least one character.
  std::string_view path;
  Action action;
  Access access = Access::kKey;
  Availability availability = Availability::kWhileServing;
  Purpose purpose = Purpose::kInference;
  ErrorDialect dialect = ErrorDialect::kOpenai;  // also of what is refused before the action
  Describe describe = nullptr;                   // what documents say of it
  BodyKind body = BodyKind::kJson;
  bool ends_by_deadline = false;  // the client's, of kTimeoutHeader; the others do not look at that header
};

// True: `path`, without its query, is one of `pattern`. What stood for its names is appended to `parts`, percent
// escapes decoded.
bool matches_path(std::string_view pattern, std::string_view path, std::vector<std::string>& parts);

// `text` with its percent escapes decoded; a malformed one stays as it is.
std::string decode_path(std::string_view text);

// The decoded value of a parameter of the call's query; "" when it is absent.
std::string query_value(const RouteCall& call, std::string_view name);

}  // namespace coppice::server
