// `coppice bench engine MODEL | --shape NAME`. Several request counts and prefixes, with and without sharing, run one
// after the other on one loaded model and give a report each.
#include <algorithm>
#include <charconv>
#include <iterator>
#include <numeric>
#include <span>
#include <sstream>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/machine_bench.h"
#include "kernels/bench/without_attention.h"
#include "server/app/device_options.h"
#include "server/app/progress_bar.h"
#include "server/bench/engine_bench.h"
#include "server/bench/schema_grammar.h"
#include "server/bench/speculation_pairs.h"
#include "server/commands/bench_commands.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/commands/speculation_flags.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

struct EngineBenchArguments {
  EngineBenchOptions bench;
  LoadModelOptions load;
  ModelChoice model;
  std::string shape;
  std::string schema;
  std::string prompt_file;
  std::string tokenizer = "demo";
  std::string requests = "1";
  std::string shared_prefix = "0";
  std::string sharing = "on";
  std::string step_log;
  SpeculationFlags speculation;
  bool json = false;
};

constexpr std::size_t kPromptBytesMax = std::size_t{16} << 20;  // bytes: more tokens than any context
constexpr std::int32_t kMany = 1 << 24;                         // tokens: beyond every context
constexpr std::int32_t kRequestsMost = 65536;                   // at once: beyond every device

OptionTable engine_table(EngineBenchArguments& arguments) {
  EngineBenchOptions& bench = arguments.bench;
  engine::EngineOptions& engine = arguments.load.engine;
  OptionTable table;
  table.add_text("shape", &arguments.shape, "random weights of this shape instead of a model: 160m, 1b, 8b, …");
  table.add_text("requests", &arguments.requests, "how many, all at time 0; several with commas between");
  table.add_text("shared-prefix", &arguments.shared_prefix, "prompt tokens common to all; several with commas between");
  table.add_integer("unique-prefix", &bench.unique_prefix, 0, kMany, "prompt tokens of each one's own");
  table.add_integer("output", &bench.output, 1, kMany, "tokens to generate for each");
  table.add_text("schema", &arguments.schema, "a file: answers are JSON of this schema, and end when they are whole");
  table.add_text("prompt-file", &arguments.prompt_file, "a text, with special tokens, that ends every prompt");
  table.add_text("tokenizer", &arguments.tokenizer,
                 "with --shape: the model whose tokens --schema and --prompt-file have");
  table.add_text("tree", &bench.tree, "prompts as a prefix tree: nodes per level _ tokens per level");
  table.add_number("temperature", &bench.temperature, 0, 100, "0 = greedy");
  table.add_integer("repeat", &bench.repeat, 1, 1000,
                    "passes over the same prompts; the last is reported; "
                    "with --speculation both: pairs of passes");
  table.add_switch("fresh-prompts", &bench.fresh_prompts, "each pass has prompts of its own");
  table.add_seed("seed", &bench.seed, &engine.seed_given, "of prompts and random weights");
  table.add_text("sharing", &arguments.sharing, "attention over shared prefixes once: on, off, or both in turn",
                 {"on", "off", "both"});
  table.add_switch("attention", &bench.attention, "off: left out, for the bound that no sharing can beat");
  table.add_number("decode-seconds", &bench.decode_seconds, 0, 3600, "most time to decode a setting; 0 = to the end");
  arguments.speculation.add_to(table, engine, /*compares=*/true);
  table.add_text("step-log", &arguments.step_log,
                 "a file to write: a line for each decode step, with its rows, expected and measured time");
  table.add_integer("batch-cap", &engine.running_max, 0, 65536, "most sequences in a step; 0 = choose");
  table.add_integer("chunk", &engine.chunk_tokens_max, 0, kMany, "most prompt tokens of one sequence in a step");
  table.add_integer("max-batch-tokens", &engine.step_tokens_max, 0, kMany, "token rows in one step; 0 = choose");
  table.add_integer("max-model-len", &engine.model_tokens_max, 0, kMany, "0 = the model's");
  table.add_bytes("kv-memory", &engine.kv_bytes, "memory for the KV cache; 0 = choose");
  table.add_switch("prefix-cache", &engine.prefix_cache, "keep prefixes for later passes");
  add_compute_rows(table, arguments.load);
  arguments.model.add_to(table);
  return table;
}

nlohmann::ordered_json to_json(const EngineBenchResult& result, const kernels::MachineFigures& machine) {
  return {{"prefill_tokens_per_s", result.prefill_tokens_per_s},
          {"decode_tokens_per_s", result.decode_tokens_per_s},
          {"decode_steps", result.decode_steps},
          {"output_tokens_per_s", result.output_tokens_per_s},
          {"ttft_ms_p50", result.ttft_ms_p50},
          {"step_ms_p50", result.step_ms_p50},
          {"step_ms_p99", result.step_ms_p99},
          {"attention_share", result.attention_share},
          {"host_share", result.host_share},
          {"kv_tokens_attended", result.kv_tokens_attended},
          {"kv_tokens_read", result.kv_tokens_read},
          {"accepted_per_step", result.drafts.accepted_per_step},
          {"draft_tokens", result.drafts.draft_tokens},
          {"accepted_tokens", result.drafts.accepted_tokens},
          {"speculation_share", result.drafts.speculation_share},
          {"prompt_tokens_computed", result.prompt_tokens_computed},
          {"peak_rss_bytes", result.peak_rss_bytes},
          {"roofline", result.roofline},
          {"prefill_roofline", result.prefill_roofline},
          {"wall_s", result.wall_s},
          {"machine", machine_json(machine)}};
}

nlohmann::ordered_json to_json(const ConstraintFigures& figures, const SchemaGrammar& grammar) {
  return {{"vocabulary_ms", grammar.vocabulary_ms},
          {"compile_ms", grammar.compile_ms},
          {"complete", figures.complete},
          {"tokens", figures.tokens},
          {"masks", figures.masks},
          {"mask_us_p50", figures.mask_us_p50},
          {"mask_us_p99", figures.mask_us_p99},
          {"mask_share", figures.mask_share},
          {"forced_drafted", figures.forced_drafted},
          {"forced_accepted", figures.forced_accepted}};
}

// What the requests have of files: their grammar and what ends their prompts.
struct RequestFiles {
  SchemaGrammar grammar;
  std::vector<TokenId> question;
};

// A shape has no tokenizer of its own.
absl::StatusOr<RequestFiles> read_request_files(const EngineBenchArguments& arguments,
                                                const models::ModelConfig& model) {
  RequestFiles files;
  if (arguments.schema.empty() && arguments.prompt_file.empty()) {
    return files;
  }
  COPPICE_ASSIGN_OR_RETURN(
      const auto package,
      open_model(arguments.shape.empty() ? arguments.model : arguments.model.with(arguments.tokenizer)));
  COPPICE_ASSIGN_OR_RETURN(const ModelText text, package->text());
  if (!arguments.schema.empty()) {
    COPPICE_ASSIGN_OR_RETURN(files.grammar, compile_schema_file(arguments.schema, *text.tokenizer, model));
  }
  if (!arguments.prompt_file.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const std::string prompt, base::read_file(arguments.prompt_file, kPromptBytesMax));
    COPPICE_ASSIGN_OR_RETURN(files.question,
                             text.tokenizer->encode(prompt, {.add_special = false, .parse_special = true}));
  }
  return files;
}

absl::StatusOr<LoadedModel> load(const EngineBenchArguments& arguments) {
  if (arguments.model.text.empty() == arguments.shape.empty()) {
    return absl::InvalidArgumentError("give either a MODEL or --shape NAME");
  }
  LoadModelOptions options = arguments.load;
  options.cuda = cuda_options_from_environment();
  ProgressBar bar("weights");
  options.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
  arguments.speculation.apply(options.engine);
  options.engines = arguments.speculation.mode == "both" ? 2 : 1;
  if (!arguments.bench.attention) {
    options.wrap_backend = kernels::without_attention;
  }
  if (arguments.shape.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
    return load_model(*package, options);
  }
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path config, resolve_shape(arguments.shape));
  return load_random_model(config, arguments.bench.seed, options);
}

// "32,256": whole numbers from `least` to `most`.
absl::StatusOr<std::vector<std::int32_t>> read_numbers(const char* flag, const std::string& text, std::int32_t least,
                                                       std::int32_t most) {
  std::vector<std::int32_t> numbers;
  std::istringstream stream(text);
  for (std::string word; std::getline(stream, word, ',');) {
    std::int32_t number = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
    if (error != std::errc() || end != word.data() + word.size() || number < least || number > most) {
      return absl::InvalidArgumentError(
          fmt::format("--{} \"{}\": must be whole numbers from {} to {} with commas between", flag, text, least, most));
    }
    numbers.push_back(number);
  }
  if (numbers.empty()) {
    return absl::InvalidArgumentError(fmt::format("--{}: give at least one number", flag));
  }
  return numbers;
}

// What is said of a setting before what was measured.
nlohmann::ordered_json setting_json(const EngineBenchArguments& arguments, const EngineBenchOptions& options,
                                    bool sharing, const LoadedModel& model) {
  return {{"model", arguments.shape.empty() ? arguments.model.text : arguments.shape},
          {"requests", options.requests},
          {"shared_prefix", options.shared_prefix},
          {"unique_prefix", options.unique_prefix},
          {"output", options.output},
          {"sharing", sharing},
          {"attention", options.attention},
          {"kv_dtype", std::string(kernels::format_name(model.transformer->formats().kv))},
          {"weight_bytes", model.weight_bytes},
          {"weight_seconds", model.weight_seconds}};
}

nlohmann::ordered_json to_json(const Spread& spread) {
  return {{"median", spread.median},
          {"quartiles", {spread.quartile_low, spread.quartile_high}},
          {"range", {spread.least, spread.most}}};
}

// The medians of one half of the pairs.
nlohmann::ordered_json half_json(std::span<const SpeculationPair> pairs, EngineBenchResult SpeculationPair::*half) {
  const auto median = [&](auto&& figure) {
    std::vector<double> values;
    std::transform(pairs.begin(), pairs.end(), std::back_inserter(values),
                   [&](const SpeculationPair& pair) { return figure(pair.*half); });
    return spread_of(std::move(values)).median;
  };
  const auto sum = [&](std::uint64_t DraftFigures::*count) {
    return std::accumulate(
        pairs.begin(), pairs.end(), std::uint64_t{0},
        [&](std::uint64_t total, const SpeculationPair& pair) { return total + (pair.*half).drafts.*count; });
  };
  return {{"decode_tokens_per_s", median([](const auto& pass) { return pass.decode_tokens_per_s; })},
          {"full_tokens_per_s", median([](const auto& pass) { return pass.full_tokens_per_s; })},
          {"output_tokens_per_s", median([](const auto& pass) { return pass.output_tokens_per_s; })},
          {"step_ms_p50", median([](const auto& pass) { return pass.step_ms_p50; })},
          {"step_ms_p99", median([](const auto& pass) { return pass.step_ms_p99; })},
          {"accepted_per_step", median([](const auto& pass) { return pass.drafts.accepted_per_step; })},
          {"speculation_share", median([](const auto& pass) { return pass.drafts.speculation_share; })},
          {"draft_tokens", sum(&DraftFigures::draft_tokens)},
          {"accepted_tokens", sum(&DraftFigures::accepted_tokens)}};
}

// Step by step: where the time goes, and whether the learned costs see it.
absl::Status write_step_log(const std::string& path, std::span<const EngineBenchResult* const> passes) {
  std::string text = "pass\trows\tdraft_nodes\ttokens\texpected_ms\tbody_ms\tstep_ms\n";
  for (std::size_t pass = 0; pass < passes.size(); ++pass) {
    for (const StepRecord& step : passes[pass]->record.steps) {
      text += fmt::format("{}\t{}\t{}\t{}\t{:.4f}\t{:.4f}\t{:.4f}\n", pass, step.rows, step.draft_nodes, step.tokens,
                          step.expected_ms, step.body_ms, step.step_ms);
    }
  }
  const std::string_view part = text;
  return base::replace_file(path, std::span(&part, 1), base::FileReaders::kEveryone);
}

// Off and on in turn; the answers must be the same to the token.
absl::Status compare_speculation(const EngineBenchArguments& arguments, const EngineBenchOptions& options,
                                 const engine::EngineOptions& engine, LoadedModel& model,
                                 const kernels::MachineFigures& machine) {
  COPPICE_ASSIGN_OR_RETURN(const SpeculationPairs result, run_speculation_pairs(options, engine, model, machine));
  nlohmann::ordered_json report = setting_json(arguments, options, engine.sharing, model);
  report.update({{"speculation", "both"},
                 {"pairs", result.pairs.size()},
                 {"decode_ratio", to_json(result.ratios(&EngineBenchResult::decode_tokens_per_s))},
                 {"full_ratio", to_json(result.ratios(&EngineBenchResult::full_tokens_per_s))},
                 {"output_ratio", to_json(result.ratios(&EngineBenchResult::output_tokens_per_s))},
                 {"first_decode_ratio", result.first.ratio(&EngineBenchResult::decode_tokens_per_s)},
                 {"same_answers", result.has_same_answers},
                 {"off", half_json(result.pairs, &SpeculationPair::off)},
                 {"on", half_json(result.pairs, &SpeculationPair::on)}});
  print_report(report, arguments.json);
  if (!arguments.step_log.empty()) {
    std::vector<const EngineBenchResult*> passes = {&result.first.off, &result.first.on};
    for (const SpeculationPair& pair : result.pairs) {
      passes.insert(passes.end(), {&pair.off, &pair.on});
    }
    COPPICE_RETURN_IF_ERROR(write_step_log(arguments.step_log, passes));
  }
  return result.has_same_answers ? absl::OkStatus()
                                 : absl::InternalError("answers differ with and without speculation");
}

// The settings of one engine, one after the other; later ones find earlier prefixes in its cache.
absl::Status run_settings(const EngineBenchArguments& arguments, const engine::EngineOptions& engine,
                          LoadedModel& model, const kernels::MachineFigures& machine) {
  COPPICE_ASSIGN_OR_RETURN(const RequestFiles files, read_request_files(arguments, model.config));
  COPPICE_ASSIGN_OR_RETURN(const auto prefixes, read_numbers("shared-prefix", arguments.shared_prefix, 0, kMany));
  COPPICE_ASSIGN_OR_RETURN(const auto requests, read_numbers("requests", arguments.requests, 1, kRequestsMost));
  std::uint64_t first_id = 1;
  if (arguments.speculation.mode == "both" && arguments.bench.decode_seconds > 0) {
    return absl::InvalidArgumentError("--speculation both compares whole answers: leave out --decode-seconds");
  }
  if (!arguments.step_log.empty() && prefixes.size() * requests.size() > 1) {
    return absl::InvalidArgumentError("--step-log holds one setting: give one --shared-prefix and one --requests");
  }
  for (const std::int32_t prefix : prefixes) {
    for (const std::int32_t count : requests) {
      EngineBenchOptions options = arguments.bench;
      options.shared_prefix = prefix;
      options.requests = count;
      options.first_id = first_id;
      options.constraint = files.grammar.source;
      options.question = files.question;
      options.logs_steps = !arguments.step_log.empty();
      first_id += std::uint64_t{kMany} * kRequestsMost;
      if (arguments.speculation.mode == "both") {
        COPPICE_RETURN_IF_ERROR(compare_speculation(arguments, options, engine, model, machine));
        continue;
      }
      COPPICE_ASSIGN_OR_RETURN(const EngineBenchResult result, run_engine_bench(options, model, machine));
      nlohmann::ordered_json report = setting_json(arguments, options, engine.sharing, model);
      report.update(to_json(result, machine));
      if (files.grammar.source != nullptr) {
        report["schema"] = to_json(result.constraint, files.grammar);
      }
      print_report(report, arguments.json);
      if (!arguments.step_log.empty()) {
        const EngineBenchResult* const pass = &result;
        COPPICE_RETURN_IF_ERROR(write_step_log(arguments.step_log, std::span(&pass, 1)));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status bench_engine(EngineBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  engine::EngineOptions& engine = arguments.load.engine;
  if (engine.queued_max == 0) {
    engine.queued_max = kRequestsMost;
  }
  engine.sharing = arguments.sharing != "off";
  // Refused before minutes of loading.
  COPPICE_RETURN_IF_ERROR(read_numbers("shared-prefix", arguments.shared_prefix, 0, kMany).status());
  COPPICE_RETURN_IF_ERROR(read_numbers("requests", arguments.requests, 1, kRequestsMost).status());
  COPPICE_ASSIGN_OR_RETURN(LoadedModel model, load(arguments));
  COPPICE_ASSIGN_OR_RETURN(const kernels::MachineFigures machine,
                           kernels::measure_machine(model.backend->device().name(), cuda_options_from_environment()));
  arguments.speculation.apply(engine);
  COPPICE_RETURN_IF_ERROR(run_settings(arguments, engine, model, machine));
  if (arguments.sharing == "both") {
    engine.sharing = false;
    COPPICE_RETURN_IF_ERROR(remake_engine(model, engine));
    COPPICE_RETURN_IF_ERROR(run_settings(arguments, engine, model, machine));
  }
  return absl::OkStatus();
}

}  // namespace

void add_bench_engine_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("engine", "prefill and decode rates of the engine, in-process");
  add_examples(*command, {"coppice bench engine --shape 160m --requests 32 --shared-prefix 2048 --output 64"});
  auto arguments = std::make_shared<EngineBenchArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp);
  command->add_flag("--json", arguments->json, "one JSON object a setting, on a line each");
  auto flags = std::make_shared<CommandOptions>(*command, engine_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_engine(*arguments, *flags); }; });
}

}  // namespace coppice::server
