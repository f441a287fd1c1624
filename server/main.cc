// The `coppice` program: finds the command, runs it, and ends with 0 (fine), 1 (failed at work) or 2 (wrong usage or
// configuration). An error is one line on stderr: what, where, how to mend.
#include <exception>
#include <string>

#include "CLI/CLI.hpp"
#include "base/stderr_line.h"
#include "fmt/format.h"
#include "server/app/log_setup.h"
#include "server/commands/command.h"
#include "server/config/version.h"

namespace coppice::server {
namespace {

// The first argument that looks like a flag but is none of the command's, and the flag that comes nearest.
std::string unknown_flag_hint(const CLI::App& program, const std::string& message) {
  const std::size_t dashes = message.find("--");
  if (dashes == std::string::npos) {
    return {};
  }
  const std::string flag = message.substr(dashes, message.find_first_of(" =,", dashes) - dashes);
  const CLI::App* command = &program;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
  }
  std::string nearest;
  for (const CLI::Option* option : command->get_options()) {
    const std::string name = option->get_name();
    if (nearest.empty() || edit_distance(name, flag) < edit_distance(nearest, flag)) {
      nearest = name;
    }
  }
  return nearest.empty() ? std::string() : fmt::format("; the nearest flag is {}", nearest);
}

int run_program(int argument_count, char** arguments) {
  Logging logging;  // on stderr: stdout belongs to answers and figures
  CLI::App program("coppice: an LLM inference server", "coppice");
  program.set_version_flag("--version", std::string("coppice ") + kVersion);
  program.require_subcommand(1);
  Run run;
  add_serve_command(program, run);
  add_generate_command(program, run);
  add_batch_command(program, run);
  add_bench_commands(program, run);
  add_inspect_command(program, run);
  add_tokenize_command(program, run);
  try {
    program.parse(argument_count, arguments);
  } catch (const CLI::Success& success) {  // --help, --version
    return program.exit(success);
  } catch (const CLI::ParseError& error) {
    const std::string hint = unknown_flag_hint(program, error.what());
    base::write_stderr(fmt::format("coppice: {}{} (coppice COMMAND --help lists what there is)\n", error.what(), hint));
    return kExitUsage;
  }
  const absl::Status status = run();
  if (!status.ok()) {
    logging.finish();  // the lines before come before
    base::write_stderr(fmt::format("coppice: {}\n", std::string(status.message())));
  }
  return exit_code(status);
}

}  // namespace
}  // namespace coppice::server

int main(int argument_count, char** arguments) {
  try {
    return coppice::server::run_program(argument_count, arguments);
  } catch (const std::exception& error) {
    coppice::base::write_stderr(std::string("coppice: unexpected: ") + error.what() + "\n");
    return coppice::server::kExitFailed;
  }
}
