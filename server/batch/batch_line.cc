// Reading requests, writing answers.
#include "server/batch/batch_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "proto/openai/json_reader.h"
#include "proto/openai/json_writer.h"
#include "proto/openai/parse_request.h"

namespace coppice::server {
namespace {

using openai::Json;

constexpr std::size_t kCustomIdMax = 512;  // bytes, as of other names
constexpr std::string_view kLinePrefix = "batch_req_";

constexpr BatchEndpoint kEndpoints[] = {
    {"/v1/chat/completions", &openai::read_chat_request},
    {"/v1/completions", &openai::read_completion_request},
};

// A named text of an object; "" when it is missing or something else.
std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// Fills the line from its JSON, or returns why not.
std::string parse_line(std::string_view text, const openai::RequestLimits& limits, BatchLine& line) {
  openai::Result<Json> parsed = openai::parse_json(text, limits, "the line");
  if (!parsed.ok()) {
    return parsed.error().message;
  }
  Json& object = parsed.value();
  if (!object.is_object()) {
    return "not an object; a line is {\"custom_id\",\"method\",\"url\",\"body\"}";
  }
  std::string custom_id = text_of(object, "custom_id");
  if (custom_id.empty() || custom_id.size() > kCustomIdMax) {
    return fmt::format("'custom_id' must be a string of 1 to {} bytes", kCustomIdMax);
  }
  line.custom_id = std::move(custom_id);
  if (text_of(object, "method") != "POST") {
    return "'method' must be \"POST\"";
  }
  const std::string url = text_of(object, "url");
  line.endpoint = find_batch_endpoint(url);
  if (line.endpoint == nullptr) {
    return fmt::format("'url' must be {}; got \"{}\"", list_batch_endpoints(), url.substr(0, 100));
  }
  const auto body = object.find("body");
  if (body == object.end() || !body->is_object()) {
    return "'body' must be an object";
  }
  line.body = std::move(*body);
  return {};
}

openai::JsonWriter begin_answer(const BatchLine& line) {
  openai::JsonWriter json;
  json.begin_object().key("id").string(line.id()).key("custom_id").string_or_null(line.custom_id);
  return json;
}

}  // namespace

const BatchEndpoint* find_batch_endpoint(std::string_view url) {
  const auto* const found = std::find_if(std::begin(kEndpoints), std::end(kEndpoints),
                                         [url](const BatchEndpoint& endpoint) { return endpoint.url == url; });
  return found == std::end(kEndpoints) ? nullptr : found;
}

std::string list_batch_endpoints() {
  std::string list;
  for (const BatchEndpoint& endpoint : kEndpoints) {
    const bool is_last = &endpoint == std::end(kEndpoints) - 1;
    list += fmt::format("{}\"{}\"", list.empty() ? "" : is_last ? " or " : ", ", endpoint.url);
  }
  return list;
}

std::size_t batch_line_number(std::string_view id) {
  std::size_t number = 0;
  if (!id.starts_with(kLinePrefix)) {
    return 0;
  }
  id.remove_prefix(kLinePrefix.size());
  const auto [end, problem] = std::from_chars(id.data(), id.data() + id.size(), number);
  return problem == std::errc() && end == id.data() + id.size() ? number : 0;
}

BatchLine read_batch_line(std::size_t number, std::string_view text, const openai::RequestLimits& limits) {
  BatchLine line;
  line.number = number;
  const std::string why = parse_line(text, limits, line);
  if (!why.empty()) {
    line.refusal = fmt::format("line {}: {}", number, why);
    line.body = nullptr;
  }
  return line;
}

std::string write_batch_answer(const BatchLine& line, int status, std::string_view body, std::string_view request_id) {
  openai::JsonWriter json = begin_answer(line);
  json.key("response").begin_object();
  json.key("status_code").integer(status);
  json.key("request_id").string(request_id.empty() ? line.id() : std::string(request_id));
  json.key("body").raw(body);
  json.end_object().key("error").null().end_object();
  return json.take();
}

std::string write_batch_refusal(const BatchLine& line, std::string_view code, std::string_view message) {
  openai::JsonWriter json = begin_answer(line);
  json.key("response").null().key("error").begin_object();
  json.key("code").string(code).key("message").string(message);
  json.end_object().end_object();
  return json.take();
}

}  // namespace coppice::server
