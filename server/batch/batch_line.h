// One request of a batch, a line of OpenAI's format: {"custom_id","method","url","body"}, and the lines of its answer.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "proto/openai/limits.h"
#include "proto/openai/request.h"

namespace coppice::server {

// An API whose requests a batch may hold: a row of a table.
struct BatchEndpoint {
  using Read = openai::Result<openai::GenerationRequest> (*)(openai::Json body, const openai::RequestLimits& limits);

  std::string_view url;
  Read read;
};
// Null when there is none of that URL.
const BatchEndpoint* find_batch_endpoint(std::string_view url);
// "/v1/a" or "/v1/b", for messages.
std::string list_batch_endpoints();

// `refusal` says why the line cannot even be tried; then there is no body, and `custom_id` may be "".
struct BatchLine {
  std::size_t number = 0;  // of the line in its file, from 1
  std::string custom_id;
  const BatchEndpoint* endpoint = nullptr;
  openai::Json body;
  std::string refusal;

  std::string id() const { return "batch_req_" + std::to_string(number); }
};

// The number in such an id; 0 for other text.
std::size_t batch_line_number(std::string_view id);

// Reads the line; a bad one has a refusal.
BatchLine read_batch_line(std::size_t number, std::string_view text, const openai::RequestLimits& limits);

// {"id","custom_id","response":{"status_code","request_id","body"},"error":null}. `request_id`: "" = the line's id.
std::string write_batch_answer(const BatchLine& line, int status, std::string_view body,
                               std::string_view request_id = "");
// The same for a line that was never tried: "response" is null and "error" has `code` and message.
std::string write_batch_refusal(const BatchLine& line, std::string_view code, std::string_view message);

}  // namespace coppice::server
