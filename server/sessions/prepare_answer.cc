// Parsing first, then what the grammar of the answer is made of.
#include "server/sessions/prepare_answer.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "server/output/call_grammar.h"

namespace coppice::server {
namespace {

void prepare_parsing(PreparedRequest& prepared, const TokenIds& prompt, const ModelHost& host) {
  const openai::ChatFields& chat = prepared.request.chat;
  const ReasoningFormat& format = host.output_rules.reasoning();
  prepared.reasoning_start = reasoning_start(prompt, format, *host.tokenizer);
  if (chat.continue_final_message && prepared.reasoning_start == ReasoningStart::kUnsaid) {
    const openai::Json& content = chat.messages->back()["content"];
    prepared.reasoning_start = reasoning_start(content.is_string() ? content.get<std::string>() : "", format);
  }
  prepared.reasoning = prepared.reasoning_start == ReasoningStart::kOver ? nullptr : host.reasoning_tokens.get();
  if (chat.tools != nullptr) {
    prepared.tools = std::make_shared<const ToolSet>(*chat.tools);
    prepared.has_short_call_ids = host.output_rules.tools().has_short_ids ||
                                  (host.prompter != nullptr && host.prompter->has_short_call_ids(chat));
  }
}

// An answer that may be calls instead keeps what the client demands of its schema: the grammar of both would only see
// it as a part, under no name that the client knows.
openai::MaybeError check_content(const openai::OutputFormat& format) {
  if (format.is_free()) {
    return std::nullopt;
  }
  auto order = OutputGrammars::order(format);
  return order.ok() ? OutputGrammars::check(*order.value()) : openai::MaybeError(std::move(order.error()));
}

}  // namespace

openai::MaybeError prepare_answer(PreparedRequest& prepared, const TokenIds& prompt, const ModelHost& host) {
  prepare_parsing(prepared, prompt, host);
  openai::GenerationRequest& request = prepared.request;
  if (!needs_call_grammar(request.chat, request.format, host.output_rules)) {
    prepared.unenforced = unenforced_header(strict_tools_unheld(request.chat, request.format));
    return std::nullopt;
  }
  if (openai::MaybeError error = check_content(request.format)) {
    return error;
  }
  openai::Result<CallGrammar> grammar = call_grammar(host.output_rules, request.chat, request.format);
  if (!grammar.ok()) {
    return std::move(grammar.error());
  }
  prepared.unenforced = unenforced_header(grammar.value().unenforced);
  prepared.call_hold = call_hold(request.chat, request.format);
  const bool is_choice = request.chat.tool_choice != openai::ToolChoice::kAuto;
  request.format = {.kind = openai::OutputFormatKind::kStructuralTag,
                    .text = std::move(grammar.value().tag),
                    .field = is_choice ? "tool_choice" : "tools"};
  return std::nullopt;
}

void bound_thinking(PreparedRequest& prepared, const ModelHost& host) {
  if (!prepared.request.chat.thinking_budget) {
    return;
  }
  if (host.reasoning_tokens == nullptr) {
    prepared.request.ignored.add(prepared.request.chat.thinking_budget_field);
  } else if (prepared.reasoning != nullptr && prepared.order == nullptr && prepared.constraint == nullptr) {
    prepared.constraint = std::make_shared<const ReasoningSource>(*prepared.reasoning, prepared.reasoning_start,
                                                                  prepared.request.chat.thinking_budget, nullptr);
  }
}

}  // namespace coppice::server
