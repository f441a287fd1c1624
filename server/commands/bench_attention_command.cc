// `coppice bench attention --tree "1,256_2048,256"`: attention alone, shared against unshared, on one device. Several
// trees and head counts give a report each, one after the other.
#include <iterator>
#include <sstream>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/attention_bench.h"
#include "server/app/device_options.h"
#include "server/commands/bench_commands.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

// Weights in bf16 put an output about 0.002 off, keys and values of 8 bits 0.01; a wrong key puts it far beyond this.
constexpr double kErrorMost = 0.02;

struct AttentionBenchArguments {
  kernels::AttentionBenchOptions bench;
  std::string tree = "1,256_2048,256";
  std::string heads = "32/8";
  std::string kv_dtype = "bf16";
  std::string device = "auto";
  bool json = false;
};

OptionTable attention_table(AttentionBenchArguments& arguments) {
  OptionTable table;
  table.add_text("tree", &arguments.tree,
                 "nodes per level _ tokens per level; every leaf is a decoding sequence; several with blanks between");
  table.add_text("heads", &arguments.heads, "query heads / key heads; several with blanks between");
  table.add_integer("dim", &arguments.bench.head_dim, 8, 256, "numbers per head");
  table.add_text("kv-dtype", &arguments.kv_dtype, "of the KV cache, and of queries; int8: queries in bf16",
                 {"bf16", "f16", "f32", "int8"});
  table.add_integer("page-size", &arguments.bench.page_size, 16, 128, "token positions in a KV page");
  table.add_integer("window", &arguments.bench.window, 0, 1 << 24, "sliding window; 0 = none");
  table.add_number("seconds", &arguments.bench.seconds, 0.01, 600, "how long to repeat each variant");
  table.add_integer("checked-rows", &arguments.bench.checked_rows, 1, 65536, "rows compared with float64");
  table.add_text("device", &arguments.device, "where to compute", {"auto", "cpu", "cuda"});
  return table;
}

// The words of a list.
std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

nlohmann::ordered_json to_json(const kernels::AttentionBenchResult& result) {
  return {{"us", result.us},
          {"us_unshared", result.us_unshared},
          {"us_plan", result.us_plan},
          {"us_plan_update", result.us_plan_update},
          {"bytes_min", result.bytes_min},
          {"gb_per_s", result.gb_per_s},
          {"tflops", result.tflops},
          {"max_rel_error", result.max_rel_error},
          {"keys_attended", result.keys_attended},
          {"keys_read", result.keys_read},
          {"keys_read_unshared", result.keys_read_unshared},
          {"sequences", result.sequences}};
}

// One setting. A tree that does not fit the memory says so in its report when there are others.
absl::Status measure_setting(AttentionBenchArguments& arguments, const std::string& heads_text,
                             const std::string& tree_text, bool is_only, kernels::Backend& backend) {
  COPPICE_ASSIGN_OR_RETURN(const kernels::HeadCounts heads, kernels::parse_head_counts(heads_text));
  COPPICE_ASSIGN_OR_RETURN(arguments.bench.tree, kernels::parse_attention_tree(tree_text));
  arguments.bench.query_heads = heads.query_heads;
  arguments.bench.key_heads = heads.key_heads;
  nlohmann::ordered_json report = {{"tree", tree_text},
                                   {"heads", heads_text},
                                   {"head_dim", arguments.bench.head_dim},
                                   {"kv_dtype", arguments.kv_dtype}};
  const absl::StatusOr<kernels::AttentionBenchResult> result = kernels::measure_attention(arguments.bench, backend);
  if (result.ok()) {
    report.update(to_json(*result));
  } else if (is_only || result.status().code() != absl::StatusCode::kResourceExhausted) {
    return result.status();
  } else {
    report["left_out"] = std::string(result.status().message());
  }
  print_report(report, arguments.json);
  if (result.ok() && !(result->max_rel_error <= kErrorMost)) {  // nor may it be no number
    return absl::InternalError(fmt::format("{} with {} heads: the output is {} off; its time means nothing", tree_text,
                                           heads_text, result->max_rel_error));
  }
  return absl::OkStatus();
}

absl::Status bench_attention(AttentionBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  const std::vector<std::string> trees = words_of(arguments.tree);
  const std::vector<std::string> heads = words_of(arguments.heads);
  if (trees.empty() || heads.empty()) {
    return absl::InvalidArgumentError("--tree and --heads: give at least one of each");
  }
  arguments.bench.type = arguments.kv_dtype == "f32"   ? kernels::ComputeType::kF32
                         : arguments.kv_dtype == "f16" ? kernels::ComputeType::kF16
                                                       : kernels::ComputeType::kBF16;
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(arguments.device, cuda_options_from_environment()));
  COPPICE_ASSIGN_OR_RETURN(arguments.bench.kv,
                           choose_kv_format(arguments.kv_dtype, arguments.bench.type, backend->device()));
  for (const std::string& each : heads) {
    for (const std::string& tree : trees) {
      COPPICE_RETURN_IF_ERROR(measure_setting(arguments, each, tree, trees.size() * heads.size() == 1, *backend));
    }
  }
  return absl::OkStatus();
}

}  // namespace

void add_bench_attention_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("attention", "attention over a tree of prefixes, shared and unshared");
  add_examples(*command, {"coppice bench attention --tree 1,64_1024,64 --heads 32/8 --dim 128"});
  auto arguments = std::make_shared<AttentionBenchArguments>();
  command->add_flag("--json", arguments->json, "one JSON object a setting, on a line each");
  auto flags = std::make_shared<CommandOptions>(*command, attention_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_attention(*arguments, *flags); }; });
}

}  // namespace coppice::server
