// What a chat's conversation and tools mean for its answer: how it is parsed, and what it is held to.
#pragma once

#include "server/sessions/prepared_request.h"

namespace coppice::server {

// Sets the tools, where the answer begins, and, where calls are demanded or must match their schemas, the request's
// output format. REQUIRES: a chat, whose `prompt` has been rendered. ERRORS: 400, as call_grammar().
openai::MaybeError prepare_answer(PreparedRequest& prepared, const TokenIds& prompt, const ModelHost& host);

// Bounds the thinking of a request whose answer is held to nothing else. Names the budget as ignored where it has no
// effect.
void bound_thinking(PreparedRequest& prepared, const ModelHost& host);

}  // namespace coppice::server
