// Errors as gRPC statuses.
#include "server/grpc/convert.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "server/sessions/refusals.h"
#include "text/utf8.h"

namespace coppice::server {
namespace {

// Bytes of a message: percent-encoded it has at most three times as many, and clients accept 8 KiB of metadata.
constexpr std::size_t kMessageBytesMax = 2048;

// What HTTP calls it, what inference.proto calls it.
constexpr std::pair<std::string_view, std::string_view> kWords[] = {
    {"'top_logprobs'", "'logprobs'"},
    {"'include_stop_str_in_output'", "'include_stop'"},
    {"'chat_template_kwargs'", "'chat_template_arguments_json'"},
    {"'tools'", "'tools_json'"},
    {"'tools[", "'tools_json["},
    {"use /v1/completions", "use Generate"},
};

std::string in_words_of_proto(std::string text) {
  for (const auto& [http, proto] : kWords) {
    for (std::size_t at = text.find(http); at != std::string::npos; at = text.find(http, at + proto.size())) {
      text.replace(at, http.size(), proto);
    }
  }
  if (text.size() > kMessageBytesMax) {
    text.resize(kMessageBytesMax);
    text.resize(text.size() - text::utf8_cut_short_tail(text));
    text += "...";
  }
  return text;
}

}  // namespace

grpc::Status to_status(const openai::ApiError& error) {
  const std::span<const Refusal> table = refusals();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&error](const Refusal& refusal) { return refusal.status == error.status; });
  grpc::StatusCode code =
      error.status == openai::kClientLeftStatus ? grpc::StatusCode::CANCELLED : grpc::StatusCode::INTERNAL;
  if (found != table.end()) {
    code = static_cast<grpc::StatusCode>(found->grpc_code);
  }
  // A message may quote part of a character that a client sent; statuses are UTF-8.
  return {code, text::replace_invalid_utf8(in_words_of_proto(error.message))};
}

}  // namespace coppice::server
