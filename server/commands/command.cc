// Options from flags and files; exit codes.
#include "server/commands/command.h"

#include "CLI/Option.hpp"

namespace coppice::server {

CommandOptions::CommandOptions(CLI::App& command, OptionTable table, bool with_config) : table_(std::move(table)) {
  for (const OptionTable::Row& row : table_.rows()) {
    CLI::Option* option = row.is_flag
                              ? command.add_flag("--" + row.name, values_[row.name], row.help)
                              : command.add_option("--" + row.name, values_[row.name], row.help)->type_name(row.kind);
    if (!row.group.empty()) {
      option->group(row.group);
    }
    options_[row.name] = option;
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

namespace {

constexpr std::string_view kExamplesTitle = "Examples:\n  ";

}  // namespace

void add_examples(CLI::App& command, std::initializer_list<std::string_view> examples) {
  std::string text(kExamplesTitle);
  for (const std::string_view example : examples) {
    text += text.size() == kExamplesTitle.size() ? "" : "\n  ";
    text += example;
  }
  command.footer(text);
}

std::string first_example(const CLI::App& command) {
  const std::string footer = command.get_footer();
  return footer.starts_with(kExamplesTitle)
             ? footer.substr(kExamplesTitle.size(), footer.find('\n', kExamplesTitle.size()) - kExamplesTitle.size())
             : std::string();
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
