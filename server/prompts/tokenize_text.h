// What /tokenize and the gRPC Tokenize call do, for both doors.
#pragma once

#include <vector>

#include "proto/openai/parse_request.h"
#include "server/model/model_host.h"

namespace coppice::server {

// ERRORS: 400 for text that cannot fit or a conversation that the template refuses; 404 for another model's name.
openai::Result<std::vector<TokenId>> tokenize_text(const ModelHost& host, const openai::TokenizeRequest& request);

// 404 when `model` is neither empty nor the served one.
openai::MaybeError check_model(const ModelHost& host, const std::string& model);

}  // namespace coppice::server
