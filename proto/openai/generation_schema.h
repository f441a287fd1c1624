// What the bodies of /v1/completions, /v1/chat/completions, /tokenize and /detokenize hold, for documents. Their
// readers check more than a schema can say; nothing that a schema rules out passes them, see generation_schema_test.cc.
#pragma once

#include "proto/openai/limits.h"
#include "proto/openai/schema.h"

namespace coppice::openai {

Schema completion_schema(const RequestLimits& limits);
Schema chat_schema(const RequestLimits& limits);
Schema tokenize_schema(const RequestLimits& limits);
Schema detokenize_schema(const RequestLimits& limits);

}  // namespace coppice::openai
