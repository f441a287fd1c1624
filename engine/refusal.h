// refusal: whether a request can be run at all. The front end has validated it already; the engine checks again, since
// one bad number would fail the step of all sequences.
#pragma once

#include <string>

#include "engine/limits.h"
#include "engine/request.h"
#include "models/model_config.h"

namespace coppice::engine {

// Empty when the request can run; else one line for the client: what, what came, what is allowed.
std::string refusal(const Request& request, const Limits& limits, const models::ModelConfig& model);

}  // namespace coppice::engine
