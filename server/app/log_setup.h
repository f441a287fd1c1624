// Log lines: to stderr, as text for people or one JSON object a line for machines. No thread that logs waits for stderr
// (log_writer.h).
#pragma once

#include <string>

#include "server/app/serve_options.h"

namespace coppice::server {

// The program's logging while it lives: spdlog's default logger writes through it. Owner: main.cc; one at a time, made
// before any other thread.
class Logging {
 public:
  Logging();
  ~Logging();  // finish()
  Logging(const Logging&) = delete;
  Logging& operator=(const Logging&) = delete;

  // Waits a moment for what is logged to be written.
  void finish();
};

// Before any thread logs. Text is the format until then.
void set_log_format(LogFormat format);

// A line that is no log line, in order with those: the ready line.
void print_line(std::string line);

}  // namespace coppice::server
