// The routes whose work is a function of the body: tokens of a text, text of tokens, texts to draft from. They run on
// the work pool.
#pragma once

#include <string>
#include <string_view>

#include "server/sessions/model_host.h"
#include "server/sessions/prepared_request.h"

namespace coppice::server {

// POST /tokenize. ERRORS: 400, 404 (model), 413, 429.
openai::Result<std::string> write_tokens(const ModelHost& host, std::string_view body, const JobContext& job);

// POST /detokenize. ERRORS: as above.
openai::Result<std::string> write_text(const ModelHost& host, std::string_view body, const JobContext& job);

// POST /v1/speculation/corpora. ERRORS: 400, 404 when speculation is off, 413, 429.
openai::Result<std::string> write_new_corpus(const ModelHost& host, const std::string& tenant, std::string_view body);

// 404: speculation is off.
openai::ApiError no_corpora();

}  // namespace coppice::server
