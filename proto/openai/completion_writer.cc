// text_completion objects.
#include "proto/openai/completion_writer.h"

#include <variant>

#include "base/check.h"
#include "proto/openai/write_logprobs.h"

namespace coppice::openai {
namespace {

constexpr std::string_view kObject = "text_completion";

// The fields of a choice, gathered from its items.
struct Fields {
  void operator()(const TextDelta& item) {
    text += item.text;
    add_entries(item.tokens, tokens);
  }
  // A completion is the model's raw text: it has no field for reasoning.
  void operator()(const ReasoningDelta& item) {
    text += item.text;
    add_entries(item.tokens, tokens);
  }
  void operator()(const ToolCallBegin& /*item*/) { COPPICE_CHECK(false, "a completion has no tools to call"); }
  void operator()(const ToolArgumentsDelta& /*item*/) { COPPICE_CHECK(false, "a completion has no tools to call"); }
  void operator()(const Finish& item) { finish = &item; }

  std::string text;
  EntryList tokens;
  const Finish* finish = nullptr;
};

}  // namespace

void CompletionWriter::write_choice(std::span<const OutputItem> items, const ChoiceDelta& choice, bool has_token_ids,
                                    JsonWriter& out) const {
  Fields fields;
  for (const OutputItem& item : items) {
    std::visit(fields, item);
  }
  out.key("index").integer(choice.index);
  out.key("text").string(fields.text);
  out.key("logprobs");
  if (!head_.logprobs || (fields.tokens.empty() && fields.text.empty() && fields.finish == nullptr)) {
    out.null();
  } else {
    write_completion_logprobs(fields.tokens, head_.tokens_as_ids ? TokenNames::kIds : TokenNames::kText, out);
  }
  write_finish(head_, fields.finish, out);
  if (has_token_ids) {
    write_token_ids(head_, choice, out);
  }
}

std::string CompletionWriter::whole(const Answer& answer) const {
  JsonWriter out;
  out.begin_object();
  write_head(head_, kObject, out);
  out.key("choices").begin_array();
  for (const ChoiceDelta& choice : answer.choices) {
    out.begin_object();
    write_choice(choice.items, choice, /*has_token_ids=*/true, out);
    const auto prompt = static_cast<std::size_t>(choice.index / answer.choices_per_prompt);
    if (prompt < answer.prompt_scores.size()) {
      write_prompt_logprobs(answer.prompt_scores[prompt], out.key("prompt_logprobs"));
    }
    out.end_object();
  }
  out.end_array();
  write_usage(answer, out);
  out.end_object();
  return out.take();
}

void CompletionWriter::append_chunk(const ChoiceDelta& delta, std::span<const OutputItem> items, bool has_token_ids,
                                    std::string& out) const {
  JsonWriter json;
  json.begin_object();
  write_head(head_, kObject, json);
  json.key("choices").begin_array().begin_object();
  write_choice(items, delta, has_token_ids, json);
  json.end_object().end_array();
  end_chunk(head_, delta, json, out);
}

void CompletionWriter::append_delta(const ChoiceDelta& delta, std::string& out) {
  const std::span<const OutputItem> items = delta.items;
  const bool ends = !items.empty() && std::holds_alternative<Finish>(items.back());
  const bool has_text = items.size() > (ends ? 1U : 0U);
  if (has_text || !ends) {
    append_chunk(delta, ends ? items.first(items.size() - 1) : items, /*has_token_ids=*/true, out);
  }
  if (ends) {
    append_chunk(delta, items.last(1), /*has_token_ids=*/!has_text, out);
  }
}

void CompletionWriter::append_end(const Answer& answer, std::string& out) {
  append_stream_end(head_, kObject, answer, out);
}

void CompletionWriter::append_error(const ApiError& error, std::string& out) {
  append_stream_error(error, out);
}

}  // namespace coppice::openai
