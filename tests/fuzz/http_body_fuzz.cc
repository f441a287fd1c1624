// Request bodies of every JSON route. Besides not crashing: what is accepted holds its bounds, what is refused says
// why.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "proto/anthropic/parse_messages.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/parse_request.h"
#include "proto/openai/parse_responses.h"
#include "proto/openai/response_items.h"

namespace coppice::openai {
namespace {

RequestLimits fuzz_limits() {
  RequestLimits limits;
  limits.body_bytes_max = 1U << 16U;
  limits.vocab = 1000;
  limits.model_tokens_max = 4096;
  limits.json_depth_max = 32;
  return limits;
}

void require(bool holds) {
  if (!holds) {
    std::abort();
  }
}

template <typename Parsed>
void check_error(const Parsed& parsed) {
  if (!parsed.ok()) {
    require(parsed.error().status == 400 || parsed.error().status == 413);
    require(!parsed.error().message.empty());
    require(parse_json(write_error(parsed.error()), RequestLimits{}).ok());  // the answer itself is JSON
  }
}

void check_generation(const Result<GenerationRequest>& parsed, const RequestLimits& limits) {
  check_error(parsed);
  if (!parsed.ok()) {
    return;
  }
  const GenerationRequest& request = parsed.value();
  require(!validate(request, limits).has_value());
  require(request.n >= 1 && request.n <= limits.choices_max);
  require(request.stop.size() <= static_cast<std::size_t>(limits.stop_max));
  require(request.kind == RequestKind::kCompletion ? !request.prompts.empty() : request.chat.messages != nullptr);
  for (const auto& [token, bias] : request.sampling.logit_bias) {
    require(token >= 0 && token < limits.vocab && bias >= -100 && bias <= 100);
  }
}

void check_conversation(const GenerationRequest& request) {
  for (const Json& message : *request.chat.messages) {
    require(message.is_object() && message["role"].is_string());
  }
  for (const CacheBreakpoint& breakpoint : request.cache_breakpoints) {
    require(breakpoint.messages <= request.chat.messages->size());
  }
  require(request.cache_breakpoints.size() <= kCacheBreakpointsMax);
  require(request.ignored.header().find_first_of("\r\n") == std::string::npos);
}

// What a response repeats and stores of a request can be read again, and goes before the next one.
void check_responses(const Json& body, const RequestLimits& limits) {
  const Result<ResponsesRequest> parsed = read_responses_request(body, {}, limits);
  check_error(parsed);
  if (!parsed.ok()) {
    return;
  }
  const ResponsesRequest& request = parsed.value();
  check_generation(request.generation, limits);
  check_conversation(request.generation);
  for (const auto& [name, json] : request.echo) {
    require(parse_json(json, RequestLimits{}).ok());
  }
  if (request.store) {
    Result<Json> items = parse_json(request.input, RequestLimits{});
    require(items.ok() && items.value().is_array());
    for (const Json& item : items.value()) {
      require(listed_item(item, "resp_1", 0)["id"].is_string());
    }
    check_error(read_responses_request(body, {items.value()}, limits));
  }
}

void check_messages(const Json& body, const RequestLimits& limits) {
  for (const Result<GenerationRequest>& parsed :
       {anthropic::read_messages_request(body, limits), anthropic::read_count_request(body, limits)}) {
    check_generation(parsed, limits);
    if (parsed.ok()) {
      check_conversation(parsed.value());
    }
  }
}

void run(std::string_view body) {
  const RequestLimits limits = fuzz_limits();
  if (const Result<Json> json = parse_json(body, limits); json.ok()) {
    check_responses(json.value(), limits);
    check_messages(json.value(), limits);
  }
  check_generation(parse_completion_request(body, limits), limits);
  check_generation(parse_chat_request(body, limits), limits);
  check_error(parse_tokenize_request(body, limits));
  check_error(parse_detokenize_request(body, limits));
}

}  // namespace
}  // namespace coppice::openai

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  coppice::openai::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
