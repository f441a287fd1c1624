// Answers, part by part. The writers are write_parts.h, write_logprobs.h, completion_writer.h and chat_writer.h.
#include "proto/openai/answer_schema.h"

#include <utility>

#include "proto/openai/sampling_schema.h"

namespace coppice::openai {
namespace {

using Members = SchemaMembers;

Schema or_null(const char* what, const Schema& schema) {
  return Schema::one_of(what, {schema, Schema::null()});
}

Schema count() {
  return Schema::integer(0);
}

Schema logprob() {
  return Schema::number(-9999, 0);
}

Members head(const char* object) {
  return {required("id", Schema::string(1)), required("object", Schema::word({object})), required("created", count()),
          required("model", Schema::string()), optional("service_tier", Schema::word({"default", "flex", "priority"}))};
}

Members totals() {
  return {required("prompt_tokens", count()), required("completion_tokens", count()),
          required("total_tokens", count())};
}

Schema usage() {
  Members members = totals();
  append_members(
      members,
      {required("prompt_tokens_details",
                Schema::object({required("cached_tokens", count()), required("cache_write_tokens", count())})),
       required("completion_tokens_details",
                Schema::object({required("reasoning_tokens", count()), required("accepted_prediction_tokens", count()),
                                required("rejected_prediction_tokens", count())}))});
  return Schema::object(std::move(members)).named("Usage");
}

// Of a chunk: all of it at the end, totals so far before, or null.
Schema chunk_usage() {
  return Schema::one_of("usage", {usage(), Schema::object(totals()), Schema::null()});
}

Schema speculation() {
  return Schema::object({required("drafted_tokens", count()), required("accepted_tokens", count())})
      .named("Speculation");
}

Schema finish_reason() {
  return or_null("a reason or null", Schema::word({"stop", "length", "tool_calls", "function_call"}));
}

Schema stop_reason() {
  return Schema::one_of("a stop string, a stop token or null", {Schema::string(), count(), Schema::null()});
}

Schema token_ids() {
  return Schema::array(count());
}

Schema prompt_logprobs() {
  const Schema token = Schema::object({required("logprob", logprob()), required("decoded_token", Schema::string())});
  return Schema::array(or_null("tokens or null", Schema::map(token)));
}

Schema completion_logprobs() {
  return Schema::object({required("text_offset", Schema::array(count())),
                         required("token_logprobs", Schema::array(or_null("a logprob or null", logprob()))),
                         required("tokens", Schema::array(Schema::string())),
                         required("top_logprobs", Schema::array(or_null("tokens or null", Schema::map(logprob()))))})
      .named("CompletionLogprobs");
}

Schema completion_choice() {
  return Schema::object({required("index", count()), required("text", Schema::string()),
                         required("logprobs", or_null("logprobs or null", completion_logprobs())),
                         required("finish_reason", finish_reason()), required("stop_reason", stop_reason()),
                         optional("token_ids", token_ids()), optional("prompt_logprobs", prompt_logprobs())})
      .named("CompletionChoice");
}

Schema chat_logprobs() {
  return Schema::object({required("content", Schema::array(chat_token_schema())), required("refusal", Schema::null())})
      .named("ChatLogprobs");
}

Schema nullable_text() {
  return or_null("a string or null", Schema::string());
}

Members reasoning() {
  return {optional("reasoning_content", Schema::string()), optional("reasoning", Schema::string())};
}

Schema chat_answer_message() {
  const Schema function =
      Schema::object({required("name", Schema::string(1)), required("arguments", Schema::string(), "A JSON text.")});
  const Schema call = Schema::object({required("id", Schema::string(1)), required("type", Schema::word({"function"})),
                                      required("function", function)});
  Members members = {required("role", Schema::word({"assistant"})), required("content", nullable_text()),
                     required("refusal", Schema::null())};
  append_members(members, reasoning());
  members.push_back(optional("tool_calls", Schema::array(call, 1)));
  members.push_back(optional("function_call", function));
  return Schema::object(std::move(members)).named("ChatAnswerMessage");
}

Schema chat_delta() {
  const Schema function =
      Schema::object({optional("name", Schema::string(1)), required("arguments", Schema::string())});
  const Schema call = Schema::object({required("index", count()), optional("id", Schema::string(1)),
                                      optional("type", Schema::word({"function"})), required("function", function)});
  Members members = {optional("role", Schema::word({"assistant"})), optional("content", nullable_text())};
  append_members(members, reasoning());
  members.push_back(optional("tool_calls", Schema::array(call, 1)));
  members.push_back(optional("function_call", function));
  return Schema::object(std::move(members)).named("ChatDelta");
}

// What follows a chat's message or delta.
Members chat_rest() {
  return {required("logprobs", or_null("logprobs or null", chat_logprobs())),
          required("finish_reason", finish_reason()), optional("stop_reason", stop_reason()),
          optional("token_ids", token_ids())};
}

Schema answer(const char* object, const Schema& choice, Members more) {
  Members members = head(object);
  append_members(members, {required("choices", Schema::array(choice))});
  append_members(members, std::move(more));
  return Schema::object(std::move(members));
}

Schema choice(Schema::Member message, const char* name) {
  Members members = {required("index", count()), std::move(message)};
  append_members(members, chat_rest());
  return Schema::object(std::move(members)).named(name);
}

}  // namespace

Schema chat_token_schema() {
  const Members token = {required("token", Schema::string()), required("logprob", logprob()),
                         required("bytes", Schema::array(Schema::integer(0, 255)))};
  Members drawn = token;
  drawn.push_back(required("top_logprobs", Schema::array(Schema::object(token))));
  return Schema::object(std::move(drawn)).named("ChatToken");
}

Schema completion_answer_schema() {
  return answer("text_completion", completion_choice(),
                {required("usage", usage()), required("speculation", speculation())})
      .named("Completion");
}

Schema completion_chunk_schema() {
  return answer("text_completion", completion_choice(),
                {optional("usage", chunk_usage()), optional("speculation", speculation())})
      .named("CompletionChunk");
}

Schema chat_answer_schema() {
  return answer("chat.completion", choice(required("message", chat_answer_message()), "ChatChoice"),
                {required("usage", usage()), required("speculation", speculation()),
                 optional("prompt_logprobs", prompt_logprobs())})
      .named("Chat");
}

Schema chat_chunk_schema() {
  return answer("chat.completion.chunk", choice(required("delta", chat_delta()), "ChatChunkChoice"),
                {optional("usage", chunk_usage()), optional("speculation", speculation())})
      .named("ChatChunk");
}

}  // namespace coppice::openai
