// From lines of a file to pinned requests.
#include "server/prompts/pinned_prompts.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <fstream>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "engine/events.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/parse_request.h"
#include "server/access/api_keys.h"

namespace coppice::server {
namespace {

openai::Result<std::vector<TokenId>> tokenize(const openai::GenerationRequest& request, const ModelHost& host) {
  if (request.kind == openai::RequestKind::kChat) {
    if (host.prompter == nullptr) {
      return openai::bad_value("messages", "this model has no chat template: give a \"prompt\"");
    }
    return host.prompter->tokenize(request.chat, request.add_special_tokens.value_or(false), host.request_limits);
  }
  if (request.prompts.size() != 1) {
    return openai::bad_value("prompt", "'prompt' must be one prompt; give each its own line");
  }
  if (const auto* const ids = std::get_if<std::vector<TokenId>>(&request.prompts.front())) {
    return *ids;
  }
  text::EncodeOptions options;
  options.add_special = request.add_special_tokens.value_or(true);
  options.parse_special = request.parse_special;
  absl::StatusOr<std::vector<TokenId>> ids =
      host.tokenizer->encode(std::get<std::string>(request.prompts.front()), options);
  if (!ids.ok()) {
    return openai::bad_value("prompt", std::string(ids.status().message()));
  }
  return *std::move(ids);
}

openai::Result<engine::Request> read_line(const std::string& line, const ModelHost& host) {
  const openai::Result<openai::Json> json = openai::parse_json(line, host.request_limits);
  if (!json.ok()) {
    return json.error();
  }
  if (!json.value().is_object()) {
    return openai::bad_value("", "not an object; a line is the body of a request");
  }
  std::string tenant;
  openai::FieldReader reader(json.value());
  reader.read("tenant", tenant);
  if (reader.failed()) {
    return *reader.error();
  }
  openai::Result<openai::GenerationRequest> request = json.value().contains("messages")
                                                          ? openai::parse_chat_request(line, host.request_limits)
                                                          : openai::parse_completion_request(line, host.request_limits);
  if (!request.ok()) {
    return request.error();
  }
  openai::Result<std::vector<TokenId>> tokens = tokenize(request.value(), host);
  if (!tokens.ok()) {
    return tokens.error();
  }
  engine::Request pinned;
  pinned.id = host.take_request_ids(1);
  pinned.prompt = std::move(tokens.value());
  pinned.tenant = tenant_of(tenant, request.value().cache_salt);
  pinned.sampling.max_tokens = 0;
  pinned.pin = true;
  return pinned;
}

}  // namespace

absl::Status pin_prompts(const std::string& path, const ModelHost& host) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::NotFoundError(fmt::format("--pin-file {}: cannot be read", path));
  }
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    const auto refuse = [&](const std::string& why) {
      return absl::InvalidArgumentError(fmt::format("--pin-file {}: line {}: {}", path, number, why));
    };
    openai::Result<engine::Request> request = read_line(line, host);
    if (!request.ok()) {
      return refuse(request.error().message);
    }
    const auto events = std::make_shared<engine::EventQueue>(nullptr);
    request.value().events = events;
    if (!host.engine->submit(std::move(request.value()))) {
      return absl::InternalError("an idle engine refused the request");
    }
    while (host.engine->step()) {
    }
    for (const engine::Event& event : events->take()) {
      if (event.finish == engine::FinishReason::kError) {
        return refuse(event.error);
      }
    }
  }
  spdlog::info("pinned prompts: {} KV pages of {}", host.engine->stats().pages_pinned,
               host.engine->stats().pages_total);
  return absl::OkStatus();
}

}  // namespace coppice::server
