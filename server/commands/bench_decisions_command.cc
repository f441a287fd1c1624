// `coppice bench decisions MODEL | --shape NAME`.
#include <memory>
#include <string>

#include "base/status_macros.h"
#include "server/app/device_options.h"
#include "server/app/progress_bar.h"
#include "server/bench/decision_bench.h"
#include "server/commands/bench_commands.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

struct DecisionBenchArguments {
  DecisionBenchOptions bench;
  LoadModelOptions load;
  ModelChoice model;
  std::string shape;
  bool json = false;
};

constexpr std::int32_t kMany = 1 << 24;        // tokens: beyond every context
constexpr std::int32_t kQuestionsMost = 2048;  // of one request
constexpr std::int32_t kLabelsMost = 255;      // of one question
constexpr std::int32_t kQueuedMost = 65536;    // requests: all may wait

OptionTable decision_table(DecisionBenchArguments& arguments) {
  DecisionBenchOptions& bench = arguments.bench;
  engine::EngineOptions& engine = arguments.load.engine;
  OptionTable table;
  table.add_text("shape", &arguments.shape, "random weights of this shape instead of a model: 160m, 1b, 8b, …");
  table.add_integer("questions", &bench.questions, 1, kQuestionsMost, "about one state");
  table.add_integer("state", &bench.state_tokens, 1, kMany, "tokens of the state");
  table.add_integer("question", &bench.question_tokens, 1, kMany, "tokens of each question");
  table.add_integer("labels", &bench.labels, 1, kLabelsMost, "of each question");
  table.add_seed("seed", &bench.seed, &engine.seed_given, "of tokens and random weights");
  table.add_integer("max-batch-tokens", &engine.step_tokens_max, 0, kMany, "token rows in one step; 0 = choose");
  table.add_integer("max-running", &engine.running_max, 0, kQueuedMost, "sequences in one step; 0 = choose");
  table.add_bytes("kv-memory", &engine.kv_bytes, "memory for the KV cache; 0 = choose");
  add_compute_rows(table, arguments.load);
  arguments.model.add_to(table);
  return table;
}

absl::StatusOr<LoadedModel> load(const DecisionBenchArguments& arguments) {
  if (arguments.model.text.empty() == arguments.shape.empty()) {
    return absl::InvalidArgumentError("give either a MODEL or --shape NAME");
  }
  LoadModelOptions options = arguments.load;
  options.cuda = cuda_options_from_environment();
  ProgressBar bar("weights");
  options.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
  if (arguments.shape.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
    return load_model(*package, options);
  }
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path config, resolve_shape(arguments.shape));
  return load_random_model(config, arguments.bench.seed, options);
}

nlohmann::ordered_json to_json(const DecisionBenchWay& way) {
  return {{"wall_s", way.wall_s},
          {"prompt_tokens_computed", way.prompt_tokens_computed},
          {"kv_tokens_read", way.kv_tokens_read}};
}

absl::Status bench_decisions(DecisionBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  engine::EngineOptions& engine = arguments.load.engine;
  engine.queued_max = kQueuedMost;
  engine.speculation = false;  // nothing is drafted for readings
  COPPICE_ASSIGN_OR_RETURN(LoadedModel model, load(arguments));
  const DecisionBenchOptions& bench = arguments.bench;
  COPPICE_ASSIGN_OR_RETURN(const DecisionBenchResult result, run_decision_bench(bench, engine, model));
  print_report({{"model", arguments.shape.empty() ? arguments.model.text : arguments.shape},
                {"questions", bench.questions},
                {"state_tokens", bench.state_tokens},
                {"question_tokens", bench.question_tokens},
                {"together", to_json(result.together)},
                {"separate", to_json(result.separate)},
                {"unshared", to_json(result.unshared)},
                {"separate_over_together", result.separate.wall_s / result.together.wall_s},
                {"unshared_over_together", result.unshared.wall_s / result.together.wall_s},
                {"same_bits", result.has_same_bits}},
               arguments.json);
  return result.has_same_bits ? absl::OkStatus() : absl::InternalError("the ways of asking differ in their readings");
}

}  // namespace

void add_bench_decisions_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("decisions", "questions about one state as one request, and one by one");
  add_examples(*command, {"coppice bench decisions --shape 160m --questions 64 --state 2000"});
  auto arguments = std::make_shared<DecisionBenchArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp);
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, decision_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_decisions(*arguments, *flags); }; });
}

}  // namespace coppice::server
