// `coppice bench host --shape NAME`.
#include <fstream>
#include <iterator>

#include "base/status_macros.h"
#include "models/model_config.h"
#include "server/bench/host_bench.h"
#include "server/commands/bench_commands.h"
#include "server/commands/model_path.h"
#include "server/commands/speculation_flags.h"

namespace coppice::server {
namespace {

struct HostBenchArguments {
  HostBenchOptions bench;
  engine::EngineOptions engine;
  SpeculationFlags speculation;
  std::string shape = "8b";
  bool json = false;
};

constexpr std::int32_t kMany = 1 << 24;        // tokens: beyond every context
constexpr std::int32_t kRequestsMost = 65536;  // at once: beyond every device

OptionTable host_table(HostBenchArguments& arguments) {
  HostBenchOptions& bench = arguments.bench;
  OptionTable table;
  table.add_text("shape", &arguments.shape, "whose heads and vocabulary: 160m, 1b, 8b, …");
  table.add_integer("requests", &bench.requests, 1, kRequestsMost, "sequences in a step");
  table.add_integer("shared-prefix", &bench.shared_prefix, 0, kMany, "prompt tokens common to all");
  table.add_integer("unique-prefix", &bench.unique_prefix, 0, kMany, "prompt tokens of each one's own");
  table.add_integer("output", &bench.output, 1, kMany, "tokens to generate for each");
  table.add_integer("turns", &bench.turns, 1, kMany,
                    "requests in each sequence slot, one after the other; above 1 they end at random");
  table.add_integer("period", &bench.period, 0, kMany, "tokens after which an output repeats; 0: outputs are random");
  table.add_integer("workers", &bench.workers, 1, 65536, "blocks that attention is cut for");
  table.add_number("step-us", &bench.step_us, 0, 1e9, "microseconds that a step pretends to take");
  table.add_switch("sharing", &arguments.engine.sharing, "attention over shared prefixes once");
  arguments.speculation.add_to(table, arguments.engine);
  return table;
}

absl::Status bench_host(HostBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  arguments.speculation.apply(arguments.engine);
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path path, resolve_shape(arguments.shape));
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  COPPICE_ASSIGN_OR_RETURN(models::ModelConfig config, models::parse_model_config(text));
  config.max_positions = std::max(config.max_positions, kMany);  // nothing is computed that could go wrong there
  COPPICE_ASSIGN_OR_RETURN(const HostBenchResult result, run_host_bench(arguments.bench, config, arguments.engine));
  print_report({{"shape", arguments.shape},
                {"requests", arguments.bench.requests},
                {"shared_prefix", arguments.bench.shared_prefix},
                {"unique_prefix", arguments.bench.unique_prefix},
                {"sharing", arguments.engine.sharing},
                {"speculation", arguments.speculation.mode},
                {"step_us", arguments.bench.step_us},
                {"turns", arguments.bench.turns},
                {"period", arguments.bench.period},
                {"steps", result.steps},
                {"idle_us_p50", result.idle_p50},
                {"idle_us_p99", result.idle_p99},
                {"idle_us_mean", result.idle_mean},
                {"planned_ahead", result.planned_ahead},
                {"attention_plan_us_mean", result.attention_plan_mean},
                {"speculation_us_mean", result.speculation_mean},
                {"draft_tokens_mean", result.draft_tokens_mean}},
               arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_host_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("host", "how long the engine leaves a device idle between two steps");
  add_examples(*command, {"coppice bench host --shape 8b --requests 256"});
  auto arguments = std::make_shared<HostBenchArguments>();
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, host_table(*arguments), /*with_config=*/false);
  command->callback([arguments, flags, &run] { run = [arguments, flags] { return bench_host(*arguments, *flags); }; });
}

}  // namespace coppice::server
