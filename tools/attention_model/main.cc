// attention_model: predicts the time of the CUDA attention kernel for the cases of scripts/gpu-check, on a described
// GPU, by the real planner and a simulation of the kernel. Nothing it prints was measured.
//   attention_model [--gpu H200] [--items-per-worker N] [--read-cost N] [--least-cost N] [--tree TREE --heads Q/K]
//     [--trees FILE]
#include <cmath>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/attention_bench.h"
#include "kernels/bench/attention_forest.h"
#include "kernels/bench/attention_model.h"
#include "kernels/bench/gpu_class.h"

namespace {

namespace kernels = coppice::kernels;

constexpr std::int32_t kPageSize = 16;  // tokens: the server's default

struct Settings {
  std::string gpu = "H200";
  kernels::PlanCosts costs = kernels::kGpuPlanCosts;
  std::string tree;
  std::string heads = "16/2";
  std::string trees_path = "tools/attention_trees.txt";
};

struct Case {
  std::string tree;
  std::string heads;
};

kernels::AttentionForecast forecast(const Case& given, const kernels::GpuClass& gpu, const kernels::PlanCosts& costs,
                                    bool sharing) {
  const kernels::AttentionTree tree = kernels::parse_attention_tree(given.tree).value();
  const kernels::HeadCounts heads = kernels::parse_head_counts(given.heads).value();
  const kernels::Forest forest = kernels::grow_forest(tree, kPageSize);
  kernels::PlanOptions options;
  options.sharing = sharing;
  options.page_size = kPageSize;
  options.group_size = heads.query_heads / heads.key_heads;
  options.key_heads = heads.key_heads;
  options.workers = gpu.multiprocessors * gpu.blocks;
  options.costs = costs;
  kernels::AttentionPlanner planner;
  const std::int64_t keys = sharing ? tree.unique_tokens() : tree.sequences() * tree.sequence_tokens();
  return kernels::forecast_attention(
      {&planner.plan(forest.sequences, options), heads.query_heads, heads.key_heads, keys}, gpu,
      kernels::KernelCosts{});
}

void print_row(const std::string& name, const kernels::AttentionForecast& found) {
  fmt::print("| {} | {:.1f} | {:.2f} | {:.2f} | {} | {:.1f} | {:.2f} | {} |\n", name, found.us,
             found.bound_us / found.us, found.busy_share, found.units, found.merge_us,
             found.partial_bytes / found.read_bytes, kernels::limit_name(found.limit));
}

void print_flash(const kernels::GpuClass& gpu, const kernels::PlanCosts& costs) {
  fmt::print(
      "| batch x length | us | of the copy bandwidth | warps busy | units | merge, us | partials / K and V read | "
      "limit |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
  double product = 1;
  int count = 0;
  for (const auto& [batch, length] : std::vector<std::pair<int, int>>{{256, 256},
                                                                      {128, 512},
                                                                      {64, 1024},
                                                                      {32, 2048},
                                                                      {16, 4096},
                                                                      {8, 8192},
                                                                      {4, 16384},
                                                                      {2, 32768},
                                                                      {1, 65536},
                                                                      {1, 131072},
                                                                      {1, 1048576}}) {
    const auto found = forecast({fmt::format("{}_{}", batch, length), "16/2"}, gpu, costs, false);
    print_row(fmt::format("{} x {}", batch, length), found);
    product *= found.bound_us / found.us;
    ++count;
  }
  fmt::print("\nGeometric mean of the shares: {:.3f}\n\n", std::pow(product, 1.0 / count));
}

// The trees of tools/attention_trees.txt that share something. ERRORS: NotFound, InvalidArgument.
absl::StatusOr<std::vector<std::string>> read_trees(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    return absl::NotFoundError(fmt::format("{} cannot be read; --trees names a list of trees", path));
  }
  std::vector<std::string> trees;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') {
      continue;
    }
    COPPICE_ASSIGN_OR_RETURN(const kernels::AttentionTree tree, kernels::parse_attention_tree(line));
    if (tree.nodes.size() > 1) {
      trees.push_back(line);
    }
  }
  return trees;
}

void print_trees(const std::vector<std::string>& trees, const kernels::GpuClass& gpu, const kernels::PlanCosts& costs) {
  fmt::print(
      "| tree | heads | shared, us | of the bound | unshared, us | unshared / shared | merge, us | partials / K "
      "and V read | limit |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (const std::string heads : {"32/32", "16/8", "32/8", "64/8"}) {
    double product = 1;
    for (const std::string& tree : trees) {
      const auto shared = forecast({tree, heads}, gpu, costs, true);
      const auto unshared = forecast({tree, heads}, gpu, costs, false);
      product *= unshared.us / shared.us;
      fmt::print("| {} | {} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {:.1f} | {:.2f} | {} |\n", tree, heads, shared.us,
                 shared.bound_us / shared.us, unshared.us, unshared.us / shared.us, shared.merge_us,
                 shared.partial_bytes / shared.read_bytes, kernels::limit_name(shared.limit));
    }
    fmt::print("| geometric mean | {} | | | | {:.2f} | | | |\n", heads,
               std::pow(product, 1.0 / static_cast<double>(trees.size())));
  }
}

int run(const Settings& settings) {
  const auto gpu = kernels::gpu_class(settings.gpu);
  if (!gpu.ok()) {
    fmt::print(stderr, "attention_model: {}\n", std::string(gpu.status().message()));
    return 2;
  }
  if (!settings.tree.empty()) {
    if (const auto tree = kernels::parse_attention_tree(settings.tree); !tree.ok()) {
      fmt::print(stderr, "attention_model: {}\n", std::string(tree.status().message()));
      return 2;
    }
    if (const auto heads = kernels::parse_head_counts(settings.heads); !heads.ok()) {
      fmt::print(stderr, "attention_model: {}\n", std::string(heads.status().message()));
      return 2;
    }
    const Case given{settings.tree, settings.heads};
    print_row(settings.tree + " shared", forecast(given, *gpu, settings.costs, true));
    print_row(settings.tree + " unshared", forecast(given, *gpu, settings.costs, false));
    return 0;
  }
  const auto trees = read_trees(settings.trees_path);
  if (!trees.ok()) {
    fmt::print(stderr, "attention_model: {}\n", std::string(trees.status().message()));
    return 2;
  }
  fmt::print("# {}: predicted, not measured\n\n## Flash-Decoding\n", gpu->name);
  print_flash(*gpu, settings.costs);
  fmt::print("## Prefix trees\n");
  print_trees(*trees, *gpu, settings.costs);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Predicts the time of the CUDA attention kernel. Nothing it prints was measured.");
  app.add_option("--gpu", settings.gpu, "H200, H100, A100, L40S or B200")->capture_default_str();
  app.add_option("--items-per-worker", settings.costs.items_per_worker, "the planner's")->capture_default_str();
  app.add_option("--read-cost", settings.costs.read_cost, "the planner's")->capture_default_str();
  app.add_option("--least-cost", settings.costs.least_cost, "the planner's")->capture_default_str();
  app.add_option("--tree", settings.tree, "one tree instead of the table: 1,256_2048,256");
  app.add_option("--heads", settings.heads, "of that tree: query heads / key heads")->capture_default_str();
  app.add_option("--trees", settings.trees_path, "the trees of the table, one a line")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return run(settings);
}
