// Errors have few types; the message says the rest.
#include "proto/anthropic/write_objects.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "proto/openai/json_writer.h"

namespace coppice::anthropic {
namespace {

using openai::JsonWriter;

std::string_view error_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 408:
      return "timeout_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

void append_model(const openai::ModelCard& card, JsonWriter& out) {
  out.begin_object();
  out.key("type").string("model").key("id").string(card.id).key("display_name").string(card.id);
  out.key("created_at").string(fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time_t{card.created_s})));
  out.key("max_input_tokens").integer(card.model_tokens_max).key("max_tokens").integer(card.model_tokens_max);
  out.end_object();
}

}  // namespace

std::string write_error(const openai::ApiError& error, std::string_view request_id) {
  JsonWriter out;
  out.begin_object().key("type").string("error").key("error").begin_object();
  out.key("type").string(error_type(error.status)).key("message").string(openai::bounded_message(error.message));
  out.end_object();
  if (!request_id.empty()) {
    out.key("request_id").string(request_id);
  }
  out.end_object();
  return out.take();
}

std::string write_token_count(std::int64_t tokens) {
  JsonWriter out;
  out.begin_object().key("input_tokens").integer(tokens).end_object();
  return out.take();
}

std::string write_model(const openai::ModelCard& card) {
  JsonWriter out;
  append_model(card, out);
  return out.take();
}

std::string write_model_list(std::span<const openai::ModelCard> cards) {
  JsonWriter out;
  out.begin_object().key("data").begin_array();
  for (const openai::ModelCard& card : cards) {
    append_model(card, out);
  }
  out.end_array().key("has_more").boolean(false);
  out.key("first_id").string_or_null(cards.empty() ? std::string_view() : cards.front().id);
  out.key("last_id").string_or_null(cards.empty() ? std::string_view() : cards.back().id);
  out.end_object();
  return out.take();
}

}  // namespace coppice::anthropic
