// Requests that read, from their texts to token ids: the heavy part of their start. Front ends do it on the work pool.
#pragma once

#include "proto/openai/decision.h"
#include "proto/openai/embedding.h"
#include "server/sessions/model_host.h"
#include "server/sessions/prepared_request.h"
#include "server/sessions/reading_session.h"

namespace coppice::server {

// Tokenises, checks lengths and pays for the memory. ERRORS: 400, 404 (model), 413 and 429 (memory); 499 when the
// client left meanwhile; 501 for decisions with a model that cannot make them.
openai::Result<PreparedReading> prepare(const openai::EmbeddingRequest& request, const ModelHost& host,
                                        const JobContext& job = {});
openai::Result<PreparedReading> prepare(const openai::DecisionRequest& request, const ModelHost& host,
                                        const JobContext& job = {});

}  // namespace coppice::server
