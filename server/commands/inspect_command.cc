// `coppice inspect MODEL`: architecture, dtype, tokenizer, memory per token, what fits in this machine; with
// --perplexity, how likely the model finds a text.
#include <cstdio>

#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/app/device_options.h"
#include "server/commands/command.h"
#include "server/commands/compute_flags.h"
#include "server/commands/inspect_perplexity.h"
#include "server/commands/model_path.h"
#include "server/model/facts_on.h"

namespace coppice::server {
namespace {

struct InspectArguments {
  ModelChoice model;
  LoadModelOptions load;
  PerplexityOptions perplexity;
};

OptionTable inspect_table(InspectArguments& arguments) {
  OptionTable table;
  add_compute_rows(table, arguments.load);
  arguments.model.add_to(table);
  table.add_text("perplexity", &arguments.perplexity.file, "how likely the model finds the text in this file, instead");
  table.add_integer("window", &arguments.perplexity.window, 0, 1 << 24,
                    "tokens of the text at a time for --perplexity; 0 = 512, or the model's context if that is less");
  return table;
}

absl::Status print_facts(const ModelChoice& model, const LoadModelOptions& load) {
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(model));
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, package->config());
  COPPICE_ASSIGN_OR_RETURN(const auto weights, package->weights(config));
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(load.device, load.cuda));
  COPPICE_ASSIGN_OR_RETURN(const kernels::ModelFormats formats,
                           choose_formats(load, weights->stored_format(), backend->device()));
  const models::ModelFacts facts = facts_on(backend->device(), config, *weights, formats);
  const auto memory = static_cast<std::size_t>(base::available_memory_bytes());
  fmt::print("{}", models::format_model_facts(facts, memory));
  if (const absl::StatusOr<ModelText> text = package->text(); text.ok()) {
    const text::Tokenizer& tokenizer = *text->tokenizer;
    fmt::print("{:<14}{}, {} tokens\n", "tokenizer", std::string(tokenizer.kind()), tokenizer.vocab_size());
  } else {
    fmt::print("{:<14}{}\n", "tokenizer", std::string(text.status().message()));
  }
  fmt::print("{:<14}{}: {}\n", "device", backend->device().name(), backend->device().description());
  return absl::OkStatus();
}

absl::Status inspect(InspectArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  arguments.load.cuda = cuda_options_from_environment();
  const PerplexityOptions& perplexity = arguments.perplexity;
  if (!perplexity.file.empty()) {
    return print_perplexity(arguments.model, arguments.load, perplexity);
  }
  if (perplexity.json || perplexity.window != 0) {
    return absl::InvalidArgumentError("--json and --window belong to --perplexity FILE");
  }
  return print_facts(arguments.model, arguments.load);
}

}  // namespace

void add_inspect_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("inspect", "what a model is, and what of it fits in this machine");
  add_examples(*command, {"coppice inspect demo", "coppice inspect demo --perplexity README.md --json"});
  auto arguments = std::make_shared<InspectArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp)->required();
  command->add_flag("--json", arguments->perplexity.json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, inspect_table(*arguments), /*with_config=*/false);
  command->callback([arguments, flags, &run] { run = [arguments, flags] { return inspect(*arguments, *flags); }; });
}

}  // namespace coppice::server
