// From lines of a file to pinned requests.
#include "server/sessions/pinned_prompts.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "base/file.h"
#include "engine/events.h"
#include "proto/openai/json_reader.h"
#include "proto/openai/parse_request.h"
#include "server/access/api_keys.h"

namespace coppice::server {
namespace {

constexpr std::size_t kPinFileBytesMax = std::size_t{256} << 20;  // far more text than any KV cache holds

openai::Result<engine::Request> read_line(const std::string& line, const ModelHost& host, const ApiKeys& keys) {
  openai::Result<openai::Json> json = openai::parse_json(line, host.request_limits, "the line");
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
  if (tenant != key_part(tenant) || !keys.is_known(tenant)) {
    return openai::bad_value("tenant", keys.required()
                                           ? "'tenant' must be the name of one of the API keys (docs/security.md)"
                                           : "'tenant' must be absent: there are no API keys");
  }
  const bool is_chat = json.value().contains("messages");
  openai::Result<openai::GenerationRequest> request =
      is_chat ? openai::read_chat_request(std::move(json.value()), host.request_limits)
              : openai::read_completion_request(std::move(json.value()), host.request_limits);
  if (!request.ok()) {
    return request.error();
  }
  openai::Result<std::vector<TokenIds>> prompts = host.encoder().encode(request.value());
  if (!prompts.ok()) {
    return prompts.error();
  }
  if (prompts.value().size() != 1) {
    return openai::bad_value("prompt", "'prompt' must be one prompt; give each its own line");
  }
  engine::Request pinned;
  pinned.id = host.take_request_ids(1);
  pinned.prompt = std::move(prompts.value().front());
  pinned.tenant = tenant_of(tenant, request.value().cache_salt);
  pinned.sampling.max_tokens = 0;
  pinned.pin = true;
  return pinned;
}

}  // namespace

absl::Status pin_prompts(const std::string& path, const ModelHost& host, const ApiKeys& keys) {
  absl::StatusOr<std::string> text = base::read_file(path, kPinFileBytesMax);
  if (!text.ok()) {
    return absl::Status(text.status().code(), fmt::format("--pin-file {}", std::string(text.status().message())));
  }
  std::istringstream file(*std::move(text));
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) {
      continue;
    }
    const auto refuse = [&](const std::string& why) {
      return absl::InvalidArgumentError(fmt::format("--pin-file {}: line {}: {}", path, number, why));
    };
    openai::Result<engine::Request> request = read_line(line, host, keys);
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
  spdlog::info("pinned prompts: {} KV pages of {}", host.engine->stats().pages.pinned,
               host.engine->stats().pages.total);
  return absl::OkStatus();
}

}  // namespace coppice::server
