// PreparedRequest: a request whose texts have become tokens. Preparing is the heavy part of a request's start, in
// rendering, tokenising and memory, and needs no thread of its own: front ends do it on the work pool.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/openai/request.h"
#include "server/output/output_parser.h"
#include "server/output/output_rules.h"
#include "server/output/tool_set.h"
#include "server/sessions/model_host.h"
#include "server/work/job_context.h"

namespace coppice::server {

// A value; moved from the job that made it into its session.
struct PreparedRequest {
  struct Prompt {
    TokenIds tokens;
    std::string echo;                       // text to repeat; empty unless asked for
    bool has_open_echo = false;             // the text ends before half a character, which the answer may complete
    std::vector<engine::KeepPrefix> keeps;  // what of it the prefix cache shall keep
  };

  openai::GenerationRequest request;  // without prompts, messages, tools and template arguments: nothing needs them
  std::vector<Prompt> prompts;        // in the order of the request
  TokenIds prediction;
  std::shared_ptr<const ToolSet> tools;  // null: the answer may call none
  ReasoningStart reasoning_start = ReasoningStart::kOver;
  CallHold call_hold = CallHold::kNone;
  const ReasoningTokens* reasoning = nullptr;  // the host's, of an answer that may think first
  bool has_short_call_ids = false;  // the model's template wants ids of tool calls that are nine letters and digits
  std::size_t held_bytes = 0;       // what the session will hold, choices and prompt logprobs included

  std::shared_ptr<const GrammarOrder> order;                   // a grammar that has yet to be compiled; null: none
  std::shared_ptr<const engine::ConstraintSource> constraint;  // what the answer may be; null: anything
  bool is_held = false;    // a grammar holds the answer: `constraint` bounds not only its thinking
  std::string unenforced;  // for a header of the answer: what of its schema the constraint does not enforce

  // The grammar has been compiled.
  void hold_to(const std::shared_ptr<const GrammarSource>& grammar);
};

// Most memory that reading `body_bytes` of JSON takes, the copy of a conversation for its template included.
std::size_t parsing_bytes(std::size_t body_bytes, const openai::RequestLimits& limits);

// Renders and tokenises, checks lengths, finds the grammar, drops what is no longer needed. A grammar that is not
// compiled is left to the caller: `order` says which. REQUIRES: `request` passed openai::validate().
// ERRORS: 400, 404 (model), 413 and 429 (memory); 499 when the client left meanwhile.
openai::Result<PreparedRequest> prepare(openai::GenerationRequest request, const ModelHost& host,
                                        const JobContext& job = {});

// Compiles the request's grammar on this thread if it has one that is not compiled. ERRORS: as OutputGrammars::get.
openai::MaybeError compile_here(PreparedRequest& prepared, const ModelHost& host);

// Tokens of a prompt that is not run: what prepare() would make of it. ERRORS: as prepare(), except for lengths.
openai::Result<std::int64_t> count_prompt_tokens(const openai::GenerationRequest& request, const ModelHost& host,
                                                 const JobContext& job = {});

}  // namespace coppice::server
