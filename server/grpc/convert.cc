// Errors as gRPC statuses.
#include "server/grpc/convert.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>

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
  static constexpr std::pair<int, grpc::StatusCode> kCodes[] = {
      {400, grpc::StatusCode::INVALID_ARGUMENT}, {401, grpc::StatusCode::UNAUTHENTICATED},
      {404, grpc::StatusCode::NOT_FOUND},        {408, grpc::StatusCode::DEADLINE_EXCEEDED},
      {413, grpc::StatusCode::INVALID_ARGUMENT}, {429, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {499, grpc::StatusCode::CANCELLED},        {503, grpc::StatusCode::UNAVAILABLE}};
  const auto* const found = std::find_if(std::begin(kCodes), std::end(kCodes),
                                         [&error](const auto& entry) { return entry.first == error.status; });
  const grpc::StatusCode code = found == std::end(kCodes) ? grpc::StatusCode::INTERNAL : found->second;
  // A message may quote part of a character that a client sent; statuses are UTF-8.
  return {code, text::replace_invalid_utf8(in_words_of_proto(error.message))};
}

}  // namespace coppice::server
