// Options from flags and files; exit codes.
#include "server/commands/command.h"

#include "CLI/Option.hpp"

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

}  // namespace coppice::server
