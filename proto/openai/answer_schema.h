// What the answers of /v1/completions and /v1/chat/completions hold, whole and in chunks, for documents.
#pragma once

#include "proto/openai/schema.h"

namespace coppice::openai {

Schema completion_answer_schema();
Schema completion_chunk_schema();
Schema chat_answer_schema();
Schema chat_chunk_schema();
// A token with its logprob and the likeliest ones in its place.
Schema chat_token_schema();

}  // namespace coppice::openai
