// The `coppice` program: finds the command, runs it, and ends with 0 (fine), 1 (failed at work) or 2 (wrong usage or
// configuration). An error is one line on stderr: what, where, how to mend.
#include <exception>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/stderr_line.h"
#include "fmt/format.h"
#include "server/app/log_setup.h"
#include "server/commands/command.h"
#include "server/config/version.h"

namespace coppice::server {
namespace {

// The command that was asked for, as far as it was found, and its words: "coppice bench serve".
const CLI::App& asked_command(const CLI::App& program, std::string& words) {
  const CLI::App* command = &program;
  words = program.get_name();
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    words += " " + command->get_name();
  }
  return *command;
}

// "; the nearest flag is --port" when `argument` looks like a flag.
std::string nearest_flag(const CLI::App& command, const std::string& argument) {
  if (!argument.starts_with("--")) {
    return {};
  }
  const std::string flag = argument.substr(0, argument.find('='));
  std::string nearest;
  for (const CLI::Option* option : command.get_options()) {
    const std::string name = option->get_name();
    if (name.starts_with("--") && (nearest.empty() || edit_distance(name, flag) < edit_distance(nearest, flag))) {
      nearest = name;
    }
  }
  return nearest.empty() ? std::string() : "; the nearest flag is " + nearest;
}

std::string names_of_commands(const CLI::App& command) {
  std::string names;
  for (const CLI::App* each : command.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + each->get_name();
  }
  return names;
}

// One line: what is wrong with the command line, and what to type instead.
std::string usage_error(const CLI::App& program, const CLI::ParseError& error) {
  std::string words;
  const CLI::App& command = asked_command(program, words);
  const std::vector<std::string> unknown = command.remaining(/*recurse=*/true);
  std::string problem = error.what();
  if (command.get_require_subcommand_min() > 0) {
    problem = (unknown.empty() ? "" : unknown.front() + " is not known; ") +
              "name one of its commands: " + names_of_commands(command);
  } else if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr && !unknown.empty()) {
    problem = unknown.front() + " is not known" + nearest_flag(command, unknown.front());
  }
  const std::string example = first_example(command);
  return fmt::format("{}: {}{}; {} --help lists what there is\n", words, problem,
                     example.empty() ? example : "; for example: " + example, words);
}

int run_program(int argument_count, char** arguments) {
  Logging logging;  // on stderr: stdout belongs to answers and figures
  CLI::App program("coppice: an LLM inference server", "coppice");
  program.set_version_flag("--version", std::string("coppice ") + kVersion);
  program.require_subcommand(1);
  add_examples(program, {"coppice serve demo", "coppice generate demo --prompt 'Once upon a time'",
                         "coppice serve /models/Qwen3-0.6B --host 0.0.0.0 --api-key-file keys.txt",
                         "coppice batch demo requests.jsonl answers.jsonl", "coppice bench machine"});
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
    base::write_stderr(usage_error(program, error));
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
