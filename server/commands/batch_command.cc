// `coppice batch MODEL IN.jsonl OUT.jsonl`: OpenAI's batch files, offline, in this process. A run that was cut off is
// resumed by giving the same command again.
#include <chrono>
#include <ctime>
#include <limits>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/app/device_options.h"
#include "server/app/host_setup.h"
#include "server/app/progress_bar.h"
#include "server/batch/batch_run.h"
#include "server/commands/command.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/metrics/metrics.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

struct BatchArguments {
  ModelChoice model;
  std::string input;
  std::string output;
  std::string served_model_name;
  std::string speculation = "suffix";
  FormatNames formats;
  std::size_t line_bytes_max = std::size_t{16} << 20U;
  LoadModelOptions load;
};

OptionTable batch_table(BatchArguments& arguments) {
  constexpr std::int32_t kMany = 1 << 30;  // the engine has its own bounds
  engine::EngineOptions& engine = arguments.load.engine;
  OptionTable table;
  table.add_text("served-model-name", &arguments.served_model_name,
                 "name that requests use, or several: a,b; default: the folder's");
  add_compute_rows(table, arguments.load);
  table.add_integer("max-model-len", &engine.model_tokens_max, 0, kMany,
                    "tokens of prompt and answer; 0 = the model's");
  table.add_integer("max-batch-tokens", &engine.step_tokens_max, 0, kMany, "token rows in one step; 0 = choose");
  table.add_integer("max-running", &engine.running_max, 0, kMany, "sequences in one step; 0 = choose");
  table.add_bytes("kv-memory", &engine.kv_bytes, "memory for the KV cache; 0 = choose");
  table.add_switch("prefix-cache", &engine.prefix_cache, "keep prefixes for later requests");
  table.add_switch("sharing", &engine.sharing, "compute attention over shared prefixes once");
  table.add_text("tool-format", &arguments.formats.tools,
                 "how the model writes tool calls; auto: as its template shows", tool_format_names());
  table.add_text("reasoning-format", &arguments.formats.reasoning,
                 "how the model marks its reasoning; auto: as its template shows", reasoning_format_names());
  table.add_text("speculation", &arguments.speculation, "draft tokens from past outputs", {"suffix", "off"});
  table.add_seed("seed", &engine.seed, &engine.seed_given, "makes requests without a seed repeatable");
  table.add_bytes("max-line", &arguments.line_bytes_max, "largest line of IN.jsonl");
  arguments.model.add_to(table);
  return table;
}

void print_summary(const BatchRun& run, const engine::EngineStats& stats, double seconds) {
  const BatchRunCounts& counts = run.counts();
  fmt::print(
      stderr,
      "batch: {} answered, {} refused, {} had an answer already; {} prompt tokens ({} computed), {} generated in "
      "{:.1f} s\n",
      counts.answered, counts.refused, counts.skipped, stats.prompt_tokens, stats.prompt_tokens_computed,
      stats.generation_tokens, seconds);
}

absl::Status batch(BatchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  const auto begin = std::chrono::steady_clock::now();
  openai::RequestLimits line_limits;
  line_limits.body_bytes_max = arguments.line_bytes_max;
  std::error_code ignored;
  if (std::filesystem::equivalent(arguments.input, arguments.output, ignored)) {
    return absl::InvalidArgumentError(fmt::format("{}: input and output are the same file", arguments.output));
  }
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
  absl::StatusOr<base::RegularFile> file = base::RegularFile::open(arguments.input);
  if (!file.ok()) {
    return absl::Status(file.status().code(), fmt::format("{}; give a file of batch requests, one a line",
                                                          std::string(file.status().message())));
  }
  BatchInput input(*std::move(file), line_limits, /*lines_max=*/0);
  COPPICE_RETURN_IF_ERROR(input.scan(std::numeric_limits<std::size_t>::max(), nullptr));
  COPPICE_ASSIGN_OR_RETURN(BatchOutput output, BatchOutput::open(arguments.output));
  ModelHost host;
  COPPICE_RETURN_IF_ERROR(load_text(*package, host, arguments.formats));
  LoadedModel model;
  arguments.load.engine.speculation = arguments.speculation == "suffix";
  {
    ProgressBar bar("weights");
    arguments.load.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
    arguments.load.cuda = cuda_options_from_environment();
    COPPICE_ASSIGN_OR_RETURN(model, load_model(*package, arguments.load));
  }
  host.name = package->name();
  if (!arguments.served_model_name.empty()) {
    COPPICE_RETURN_IF_ERROR(host.set_names(arguments.served_model_name));
  }
  host.created_s = static_cast<std::int64_t>(std::time(nullptr));
  Metrics metrics(host.name);
  host.metrics = &metrics;
  host.engine = model.engine.get();
  host.engine_limits = model.limits;
  derive_request_limits(arguments.line_bytes_max, model.config, host);
  open_grammars(model.config, {}, host);
  ProgressBar bar("batch");
  BatchRun run(host, output, [&bar](std::size_t done, std::size_t total) { bar.update(done, total); });
  COPPICE_RETURN_IF_ERROR(run.run(input));
  print_summary(run, model.engine->stats(),
                std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  return absl::OkStatus();
}

}  // namespace

void add_batch_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("batch", "a file of OpenAI batch requests, offline; resumable");
  add_examples(*command, {"coppice batch demo requests.jsonl answers.jsonl"});
  auto arguments = std::make_shared<BatchArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp)->required();
  command->add_option("IN", arguments->input, "requests, one JSON object a line")->required();
  command->add_option("OUT", arguments->output, "answers, as they are ready; what it has already is not done again")
      ->required();
  auto flags = std::make_shared<CommandOptions>(*command, batch_table(*arguments), /*with_config=*/true);
  command->callback([arguments, flags, &run] { run = [arguments, flags] { return batch(*arguments, *flags); }; });
}

}  // namespace coppice::server
