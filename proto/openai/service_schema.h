// What the fields of service_fields.h may be, for documents. `priority`, `cache_salt` and `user` stand among the
// sampling fields.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/sampling_schema.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

// Those that every API of OpenAI's has: class of service, and what the cache keeps.
SchemaMembers serving_members();
// Those of completions and chats.
SchemaMembers service_members();
// Of a text part: the prompt is kept up to its end.
Schema::Member breakpoint_member();

}  // namespace coppice::openai
