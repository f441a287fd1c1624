// Options from flags and files, exit codes, the progress bar.
#include "server/commands/command.h"

#include <unistd.h>

#include <cstdio>

#include "CLI/Option.hpp"
#include "fmt/format.h"

namespace coppice::server {

CommandOptions::CommandOptions(CLI::App& command, OptionTable table, bool with_config) : table_(std::move(table)) {
  for (const OptionTable::Row& row : table_.rows()) {
    options_[row.name] = command.add_option("--" + row.name, values_[row.name], row.help)->type_name(row.kind);
  }
  if (with_config) {
    command.add_option("--config", config_, "YAML file of options; a flag beats the file")->type_name("FILE");
  }
}

absl::Status CommandOptions::apply() {
  std::map<std::string, std::string> flags;
  for (const auto& [name, option] : options_) {
    if (option->count() > 0) {
      flags[name] = values_[name];
    }
  }
  return table_.apply(config_, flags);
}

int exit_code(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitFine;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
      return kExitUsage;
    default:
      return kExitFailed;
  }
}

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), is_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (percent_ >= 0) {
    std::fputs("\r\033[K", stderr);
  }
}

void ProgressBar::update(std::size_t done, std::size_t total) {
  constexpr std::size_t kWidth = 40;
  const int percent =
      total == 0 ? 100 : static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
  if (!is_terminal_ || percent == percent_) {
    return;
  }
  percent_ = percent;
  const std::size_t filled = kWidth * static_cast<std::size_t>(percent) / 100;
  const std::string line =
      fmt::format("\r{} [{}{}] {:3} %", label_, std::string(filled, '#'), std::string(kWidth - filled, ' '), percent);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace coppice::server
