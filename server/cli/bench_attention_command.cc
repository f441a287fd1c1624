// `coppice bench attention --tree "1,256_2048,256"`: attention alone, shared against unshared, on one device.
#include "base/status_macros.h"
#include "kernels/bench/attention_bench.h"
#include "server/cli/bench_commands.h"
#include "server/model_loader.h"

namespace coppice::server {
namespace {

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
  table.add_text("tree", &arguments.tree, "nodes per level _ tokens per level; every leaf is a decoding sequence");
  table.add_text("heads", &arguments.heads, "query heads / key heads");
  table.add_integer("dim", &arguments.bench.head_dim, 8, 256, "numbers per head");
  table.add_text("kv-dtype", &arguments.kv_dtype, "of the KV cache", {"bf16", "f32"});
  table.add_integer("page-size", &arguments.bench.page_size, 16, 128, "token positions in a KV page");
  table.add_integer("window", &arguments.bench.window, 0, 1 << 24, "sliding window; 0 = none");
  table.add_number("seconds", &arguments.bench.seconds, 0.01, 600, "how long to repeat each variant");
  table.add_text("device", &arguments.device, "where to compute", {"auto", "cpu", "cuda"});
  return table;
}

absl::Status bench_attention(AttentionBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  COPPICE_ASSIGN_OR_RETURN(arguments.bench.tree, kernels::parse_attention_tree(arguments.tree));
  COPPICE_ASSIGN_OR_RETURN(const kernels::HeadCounts heads, kernels::parse_head_counts(arguments.heads));
  arguments.bench.query_heads = heads.query_heads;
  arguments.bench.key_heads = heads.key_heads;
  arguments.bench.kv_dtype = arguments.kv_dtype == "f32" ? kernels::DType::kF32 : kernels::DType::kBF16;
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(arguments.device));
  COPPICE_ASSIGN_OR_RETURN(const kernels::AttentionBenchResult result,
                           kernels::measure_attention(arguments.bench, *backend));
  print_report({{"us", result.us},
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
                {"sequences", result.sequences}},
               arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_attention_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("attention", "attention over a tree of prefixes, shared and unshared");
  auto arguments = std::make_shared<AttentionBenchArguments>();
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, attention_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_attention(*arguments, *flags); }; });
}

}  // namespace coppice::server
