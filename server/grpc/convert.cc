// Errors as gRPC statuses.
#include "server/grpc/convert.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>
#include <utility>

#include "coppice/v1/error_details.pb.h"
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

constexpr const char* kTypes = "type.googleapis.com/google.rpc.";  // of the details, as every client knows them

void add_detail(const char* type, const google::protobuf::Message& detail, v1::StatusDetails& details) {
  google::protobuf::Any& any = *details.add_details();
  any.set_type_url(std::string(kTypes) + type);
  any.set_value(detail.SerializeAsString());
}

// google.rpc.Status in bytes. Messages of such errors are short: they do not repeat what a client sent.
std::string details_of(const openai::ApiError& error, grpc::StatusCode code, const std::string& message) {
  v1::StatusDetails details;
  details.set_code(code);
  details.set_message(message);
  v1::ErrorInfo info;
  info.set_reason(error.code);
  std::transform(error.code.begin(), error.code.end(), info.mutable_reason()->begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  info.set_domain("coppice");
  add_detail("ErrorInfo", info, details);
  if (error.retry_after_s > 0) {
    v1::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(error.retry_after_s);
    add_detail("RetryInfo", retry, details);
  }
  return details.SerializeAsString();
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
  const std::string message = text::replace_invalid_utf8(in_words_of_proto(error.message));
  return {code, message, openai::is_transient(error) ? details_of(error, code, message) : std::string()};
}

}  // namespace coppice::server
