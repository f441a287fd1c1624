// What the commands of the `coppice` program share: how a command is declared, how its options are read, and the exit
// code of its failures.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "CLI/App.hpp"
#include "absl/status/status.h"
#include "server/config/option_table.h"

namespace coppice::server {

// Exit codes of the program.
inline constexpr int kExitFine = 0;
inline constexpr int kExitFailed = 1;  // at work
inline constexpr int kExitUsage = 2;   // wrong usage or configuration

// Declares commands under `program`; the one that was asked for leaves its work in `run`, which main calls after
// parsing.
using Run = std::function<absl::Status()>;
void add_serve_command(CLI::App& program, Run& run);
void add_generate_command(CLI::App& program, Run& run);
void add_inspect_command(CLI::App& program, Run& run);
void add_tokenize_command(CLI::App& program, Run& run);
void add_batch_command(CLI::App& program, Run& run);
void add_bench_commands(CLI::App& program, Run& run);

// Shown under a command's help; the first also when the command is used wrongly.
void add_examples(CLI::App& command, std::initializer_list<std::string_view> examples);
// "" when the command has none.
std::string first_example(const CLI::App& command);

// Flags of an OptionTable on a CLI command: each row becomes --NAME, kept as text until apply().
class CommandOptions {
 public:
  // The table's rows are declared on `command` now; `with_config` adds --config FILE.
  CommandOptions(CLI::App& command, OptionTable table, bool with_config);
  // Sets the targets: the config file first, then the flags. ERRORS: InvalidArgument, NotFound.
  absl::Status apply();

 private:
  OptionTable table_;
  std::map<std::string, std::string> values_;  // by row name; map nodes stay where they are
  std::map<std::string, CLI::Option*> options_;
  std::string config_;
};

// The exit code that a status stands for: InvalidArgument, NotFound and Unimplemented are the user's to mend.
int exit_code(const absl::Status& status);

}  // namespace coppice::server
