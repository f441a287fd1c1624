// spdlog's formats, and its way to the writer.
#include "server/app/log_setup.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/formatter.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "proto/openai/json_writer.h"
#include "server/app/log_writer.h"

namespace coppice::server {
namespace {

constexpr std::chrono::milliseconds kEndPatience{500};  // for the last lines to be written

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

// Hands lines over to the writer. Colours where a person reads.
class WriterSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit WriterSink(LogWriter& writer) : writer_(writer), is_terminal_(isatty(STDERR_FILENO) == 1) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t buffer;
    formatter_->format(message, buffer);
    std::string line(buffer.data(), buffer.size());
    if (is_terminal_ && message.color_range_end > message.color_range_start && message.color_range_end <= line.size()) {
      line.insert(message.color_range_end, "\033[m");
      line.insert(message.color_range_start, color_of(message.level));
    }
    writer_.write(std::move(line));
  }
  void flush_() override {}

 private:
  static const char* color_of(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::warn:
        return "\033[33m\033[1m";  // yellow, bold
      case spdlog::level::err:
      case spdlog::level::critical:
        return "\033[31m\033[1m";  // red, bold
      default:
        return "\033[32m";  // green
    }
  }

  LogWriter& writer_;
  const bool is_terminal_;
};

std::unique_ptr<spdlog::formatter> make_formatter(LogFormat format) {
  if (format == LogFormat::kJson) {
    return std::make_unique<JsonFormatter>();
  }
  return std::make_unique<spdlog::pattern_formatter>("%H:%M:%S.%e %^%l%$ %v");
}

// The line that reports dropped ones, in the format of the others.
LogWriter::DroppedLine dropped_line(LogFormat format) {
  return [formatter = std::shared_ptr<spdlog::formatter>(make_formatter(format))](std::size_t dropped) {
    const std::string text = fmt::format("{} log lines were dropped: stderr takes no more", dropped);
    spdlog::memory_buf_t buffer;
    formatter->format(spdlog::details::log_msg("coppice", spdlog::level::warn, text), buffer);
    return std::string(buffer.data(), buffer.size());
  };
}

std::unique_ptr<LogWriter> writer;  // Logging's

}  // namespace

Logging::Logging() {
  writer = std::make_unique<LogWriter>(dropped_line(LogFormat::kText));
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("coppice", std::make_shared<WriterSink>(*writer)));
  set_log_format(LogFormat::kText);
}

Logging::~Logging() {
  finish();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("coppice", std::make_shared<spdlog::sinks::null_sink_mt>()));
  writer.reset();
}

void Logging::finish() {
  writer->flush(kEndPatience);
}

void set_log_format(LogFormat format) {
  writer->set_dropped_line(dropped_line(format));
  spdlog::default_logger()->set_formatter(make_formatter(format));
}

void print_line(std::string line) {
  writer->write(std::move(line) + "\n");
}

}  // namespace coppice::server
