// `coppice bench engine MODEL | --shape NAME`.
#include <cstdio>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/bench/engine_bench.h"
#include "server/cli/bench_commands.h"
#include "server/cli/model_path.h"
#include "server/cli/speculation_flags.h"

namespace coppice::server {
namespace {

struct EngineBenchArguments {
  EngineBenchOptions bench;
  LoadModelOptions load;
  std::string model;
  std::string shape;
  std::string quant = "none";
  SpeculationFlags speculation;
  bool json = false;
};

OptionTable engine_table(EngineBenchArguments& arguments) {
  constexpr std::int32_t kMany = 1 << 24;
  EngineBenchOptions& bench = arguments.bench;
  engine::EngineOptions& engine = arguments.load.engine;
  OptionTable table;
  table.add_text("shape", &arguments.shape, "random weights of this shape instead of a model: 160m, 1b, 8b, …");
  table.add_integer("requests", &bench.requests, 1, 65536, "how many, all at time 0");
  table.add_integer("shared-prefix", &bench.shared_prefix, 0, kMany, "prompt tokens common to all");
  table.add_integer("unique-prefix", &bench.unique_prefix, 0, kMany, "prompt tokens of each one's own");
  table.add_integer("output", &bench.output, 1, kMany, "tokens to generate for each");
  table.add_text("tree", &bench.tree, "prompts as a prefix tree: nodes per level _ tokens per level");
  table.add_number("temperature", &bench.temperature, 0, 100, "0 = greedy");
  table.add_integer("repeat", &bench.repeat, 1, 1000, "passes over the same prompts; the last is reported");
  table.add_seed("seed", &bench.seed, &engine.seed_given, "of prompts and random weights");
  table.add_switch("sharing", &engine.sharing, "attention over shared prefixes once");
  arguments.speculation.add_to(table, engine);
  table.add_integer("batch-cap", &engine.running_max, 0, 65536, "most sequences in a step; 0 = choose");
  table.add_integer("chunk", &engine.chunk_tokens_max, 0, kMany, "most prompt tokens of one sequence in a step");
  table.add_integer("max-batch-tokens", &engine.step_tokens_max, 0, kMany, "token rows in one step; 0 = choose");
  table.add_integer("max-model-len", &engine.model_tokens_max, 0, kMany, "0 = the model's");
  table.add_bytes("kv-memory", &engine.kv_bytes, "memory for the KV cache; 0 = choose");
  table.add_switch("prefix-cache", &engine.prefix_cache, "keep prefixes for later passes");
  table.add_text("device", &arguments.load.device, "auto, cpu, cuda", {"auto", "cpu", "cuda"});
  table.add_text("dtype", &arguments.load.dtype, "auto, f32, bf16, f16", {"auto", "f32", "bf16", "f16"});
  table.add_text("quant", &arguments.quant, "weights in fewer bits", {"none"});
  return table;
}

nlohmann::ordered_json to_json(const EngineBenchResult& result, const kernels::MachineFigures& machine) {
  return {{"prefill_tokens_per_s", result.prefill_tokens_per_s},
          {"decode_tokens_per_s", result.decode_tokens_per_s},
          {"output_tokens_per_s", result.output_tokens_per_s},
          {"ttft_ms_p50", result.ttft_ms_p50},
          {"step_ms_p50", result.step_ms_p50},
          {"step_ms_p99", result.step_ms_p99},
          {"attention_share", result.attention_share},
          {"kv_tokens_attended", result.kv_tokens_attended},
          {"kv_tokens_read", result.kv_tokens_read},
          {"accepted_per_step", result.accepted_per_step},
          {"draft_tokens", result.draft_tokens},
          {"accepted_tokens", result.accepted_tokens},
          {"speculation_share", result.speculation_share},
          {"prompt_tokens_computed", result.prompt_tokens_computed},
          {"peak_rss_bytes", result.peak_rss_bytes},
          {"roofline", result.roofline},
          {"prefill_roofline", result.prefill_roofline},
          {"wall_s", result.wall_s},
          {"machine", machine_json(machine)}};
}

absl::StatusOr<LoadedModel> load(const EngineBenchArguments& arguments) {
  if (arguments.model.empty() == arguments.shape.empty()) {
    return absl::InvalidArgumentError("give either a MODEL or --shape NAME");
  }
  LoadModelOptions options = arguments.load;
  ProgressBar bar("weights");
  options.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
  arguments.speculation.apply(options.engine);
  if (arguments.shape.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path folder, resolve_model(arguments.model));
    return load_model_folder(folder, options);
  }
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path config, resolve_shape(arguments.shape));
  return load_random_model(config, arguments.bench.seed, options);
}

absl::Status bench_engine(EngineBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  if (arguments.load.engine.queued_max == 0) {
    arguments.load.engine.queued_max = 65536;
  }
  COPPICE_ASSIGN_OR_RETURN(LoadedModel model, load(arguments));
  COPPICE_ASSIGN_OR_RETURN(const kernels::MachineFigures machine, model.backend->measure());
  COPPICE_ASSIGN_OR_RETURN(const EngineBenchResult result, run_engine_bench(arguments.bench, model, machine));
  print_report(to_json(result, machine), arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_engine_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("engine", "prefill and decode rates of the engine, in-process");
  auto arguments = std::make_shared<EngineBenchArguments>();
  command->add_option("MODEL", arguments->model, "model folder, or demo");
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, engine_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_engine(*arguments, *flags); }; });
}

}  // namespace coppice::server
