// The grammar that holds an answer to the tools it may or must call: a structural tag of XGrammar's, as JSON, made from
// the row of the model's format. What it allows is what the format's parser reads as calls.
#pragma once

#include <string>
#include <vector>

#include "proto/openai/api_error.h"
#include "proto/openai/request.h"
#include "server/output/output_parser.h"
#include "server/output/output_rules.h"
#include "text/grammar/schema_check.h"

namespace coppice::server {

// Whether the request's answer needs such a grammar: a call is demanded, a tool is `strict`, or an answer in JSON, as
// `content` says, may be calls instead.
bool needs_call_grammar(const openai::ChatFields& chat, const openai::OutputFormat& content, const OutputRules& rules);

struct CallGrammar {
  std::string tag;
  // What tools that are not `strict` say of their arguments and the tag does not hold calls to, and what a `content` in
  // JSON says. Pointers are into the request: "#/tools/0/function/parameters/…", "#/response_format/…".
  std::vector<text::UnenforcedKeyword> unenforced;
};

// With kRequired or kNamed the answer is calls alone, in the spelling that the model's template has; with kAuto it is
// any text, in which what the template's spelling begins goes on as a call; with a `content` in JSON it is either that
// or calls. REQUIRES: needs_call_grammar(…); the tools are there. ERRORS: 400 where the format has no calls; where a
// call is demanded and `content` demands what is none; where a schema of a strict tool has what cannot be enforced.
openai::Result<CallGrammar> call_grammar(const OutputRules& rules, const openai::ChatFields& chat,
                                         const openai::OutputFormat& content = {},
                                         const text::SchemaLimits& limits = {});

// What the grammar makes sure of. REQUIRES: as call_grammar().
CallHold call_hold(const openai::ChatFields& chat, const openai::OutputFormat& content);

// Strict tools that the model may call where no grammar of calls is needed, for `content` (an expression, a grammar)
// holds the whole answer: nothing holds calls that it lets through.
std::vector<text::UnenforcedKeyword> strict_tools_unheld(const openai::ChatFields& chat,
                                                         const openai::OutputFormat& content);

}  // namespace coppice::server
