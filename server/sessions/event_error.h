// What an event of the engine that ends something before its time means for the client.
#pragma once

#include "engine/events.h"
#include "proto/openai/api_error.h"

namespace coppice::server {

// None: the event is no such end.
openai::MaybeError error_of(const engine::Event& event);

}  // namespace coppice::server
