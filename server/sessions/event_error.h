// What it means for the client that the engine takes a request not in, or ends it before its time.
#pragma once

#include "engine/events.h"
#include "engine/overload.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// REQUIRES: overload.exists().
openai::ApiError error_of(const engine::Overload& overload);

// None: the event is no such end.
openai::MaybeError error_of(const engine::Event& event);

}  // namespace coppice::server
