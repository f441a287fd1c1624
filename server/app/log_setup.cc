// spdlog's formats.
#include "server/app/log_setup.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <string>

#include "proto/openai/json_writer.h"

namespace coppice::server {
namespace {

// {"time","level","message"}; whatever a message holds, the line stays valid JSON.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& destination) override {
    const auto milliseconds = std::chrono::time_point_cast<std::chrono::milliseconds>(message.time);
    const auto seconds = std::chrono::time_point_cast<std::chrono::seconds>(milliseconds);
    openai::JsonWriter line;
    line.begin_object();
    line.key("time").string(
        fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03d}Z", fmt::gmtime(message.time), (milliseconds - seconds).count()));
    line.key("level").string(
        {spdlog::level::to_string_view(message.level).data(), spdlog::level::to_string_view(message.level).size()});
    line.key("message").string({message.payload.data(), message.payload.size()});
    line.end_object();
    const std::string text = line.take() + "\n";
    destination.append(text.data(), text.data() + text.size());
  }

  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

void set_up_logging(LogFormat format) {
  auto logger = std::make_shared<spdlog::logger>("coppice", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  if (format == LogFormat::kJson) {
    logger->set_formatter(std::make_unique<JsonFormatter>());
  } else {
    logger->set_pattern("%H:%M:%S.%e %^%l%$ %v");
  }
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace coppice::server
