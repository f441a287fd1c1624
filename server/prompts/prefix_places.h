// Where in a prompt's tokens the breakpoints of a conversation stand.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/types.h"
#include "proto/openai/request.h"
#include "server/prompts/prompt_encoder.h"
#include "server/work/job_context.h"

namespace coppice::server {

// For each of the request's breakpoints, how many leading tokens of `prompt` come from what stands before it. `prompt`
// is what the encoder made of the request's conversation. The conversation up to the breakpoint is rendered and
// tokenised for itself; as far as that is a beginning of the prompt, it counts: templates close a turn that is cut, and
// a token may reach over the cut. A conversation that the template refuses when it is cut is rendered whole instead,
// with other words behind the breakpoint. Stops, with fewer places, when the client has left;
// where memory for the work is refused the place is 0.
std::vector<std::int32_t> find_places(const openai::GenerationRequest& request, std::span<const TokenId> prompt,
                                      const PromptEncoder& encoder, const JobContext& job = {});

}  // namespace coppice::server
