// The fields of a body that say how tokens are drawn, when to end and on whose behalf: the same in every API.
#pragma once

#include <string>
#include <vector>

#include "proto/openai/json_reader.h"

namespace coppice::openai {

// The table of base/sampling.h, `seed`, `logit_bias`, `stop_token_ids`, `add_special_tokens`, `priority`, `cache_salt`,
// `user` and what other servers call the output's format. ERRORS: in `reader`, as of all functions here.
void read_sampling(FieldReader& reader, const RequestLimits& limits, GenerationRequest& request);

// Stop strings: a string or an array of them.
void read_stop(FieldReader& reader, const char* name, const RequestLimits& limits, std::vector<std::string>& stop);

// Refuses fields that change what the answer must be and that this server cannot honour.
void refuse_unsupported(FieldReader& reader);
ApiError unsupported_field(const std::string& name);  // 400

}  // namespace coppice::openai
