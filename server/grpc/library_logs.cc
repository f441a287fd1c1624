// Both libraries take a function. Their lines may quote what a client sent: they are cut.
#include "server/grpc/library_logs.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/spdlog.h>

#include <string>
#include <string_view>

namespace coppice::server {
namespace {

constexpr std::size_t kLineBytesMax = 300;  // a sentence; the rest repeats the client's bytes

std::string_view cut(std::string_view text) {
  return text.substr(0, kLineBytesMax);
}

void log_protobuf(google::protobuf::LogLevel level, const char* /*file*/, int /*line*/, const std::string& message) {
  // A client's wrong bytes are its own affair: it gets a status that says so.
  if (level == google::protobuf::LOGLEVEL_FATAL) {
    spdlog::error("protobuf: {}", cut(message));
  } else {
    spdlog::debug("protobuf: {}", cut(message));
  }
}

void log_grpc(gpr_log_func_args* args) {
  switch (args->severity) {
    case GPR_LOG_SEVERITY_ERROR:
      spdlog::warn("grpc library: {}", cut(args->message));  // an error of a connection, not of the server
      return;
    case GPR_LOG_SEVERITY_INFO:
    case GPR_LOG_SEVERITY_DEBUG:
      spdlog::debug("grpc library: {}", cut(args->message));
  }
}

}  // namespace

void redirect_library_logs() {
  google::protobuf::SetLogHandler(log_protobuf);
  gpr_set_log_function(log_grpc);
}

}  // namespace coppice::server
