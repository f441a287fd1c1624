// `coppice bench linear --shape NAME`: every product of a model's layer and its head, at several numbers of rows,
// beside what the machine can do at best, measured in the same run.
#include <algorithm>
#include <array>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/linear_bench.h"
#include "kernels/bench/machine_bench.h"
#include "models/model_config.h"
#include "server/app/device_options.h"
#include "server/commands/bench_commands.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

constexpr std::int64_t kRowsMost = 1 << 16;  // of a product: more than any step has

struct LinearBenchArguments {
  std::string shape = "160m";
  std::string rows = "1 8 32 512";
  std::string only;
  ComputeOptions compute = {.quant = "none"};
  double seconds = 0.3;  // each product at each number of rows: enough for a median
  bool json = false;
};

OptionTable linear_table(LinearBenchArguments& arguments) {
  OptionTable table;
  table.add_text("shape", &arguments.shape, "160m, 1b, 8b, …");
  table.add_text("rows", &arguments.rows, "numbers of rows with blanks between");
  table.add_text("only", &arguments.only, "products to measure with blanks between; without it all");
  add_compute_rows(table, arguments.compute);
  table.add_number("seconds", &arguments.seconds, 0.01, 60, "how long to repeat a product");
  return table;
}

struct Product {
  std::string_view name;
  std::int64_t in_features;
  std::int64_t out_features;
};

std::array<Product, 5> products_of(const models::ModelConfig& config) {
  const std::int64_t queries = std::int64_t{config.query_heads} * config.head_dim;
  const std::int64_t keys = std::int64_t{config.key_heads} * config.head_dim;
  return {{{"qkv", config.hidden, queries + 2 * keys},
           {"output", queries, config.hidden},
           {"gate_up", config.hidden, 2 * std::int64_t{config.intermediate}},
           {"down", config.intermediate, config.hidden},
           {"head", config.hidden, config.vocab}}};
}

// Of these products the ones that `only` names; all, where it names none. ERRORS: InvalidArgument.
absl::StatusOr<std::vector<Product>> choose_products(std::span<const Product> all, const std::string& only) {
  std::vector<Product> chosen;
  std::istringstream words(only);
  for (std::string word; words >> word;) {
    const auto found = std::ranges::find(all, std::string_view(word), &Product::name);
    if (found == all.end()) {
      return absl::InvalidArgumentError(
          fmt::format("--only {}: must be one of qkv, output, gate_up, down, head", word));
    }
    chosen.push_back(*found);
  }
  return chosen.empty() ? std::vector<Product>(all.begin(), all.end()) : chosen;
}

absl::StatusOr<std::vector<std::int64_t>> parse_rows(const std::string& text) {
  std::vector<std::int64_t> rows;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    if (end > at) {
      const std::string word = text.substr(at, end - at);
      const std::int64_t count = std::strtoll(word.c_str(), nullptr, 10);
      if (word.find_first_not_of("0123456789") != std::string::npos || count < 1 || count > kRowsMost) {
        return absl::InvalidArgumentError(fmt::format("--rows {}: must be from 1 to {}", word, kRowsMost));
      }
      rows.push_back(count);
    }
    at = end + 1;
  }
  return rows;
}

absl::Status bench_linear(LinearBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::int64_t> rows, parse_rows(arguments.rows));
  COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path path, resolve_shape(arguments.shape));
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, models::load_model_shape(path));
  COPPICE_ASSIGN_OR_RETURN(const std::vector<Product> products, choose_products(products_of(config), arguments.only));
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(arguments.compute.device, cuda_options_from_environment()));
  COPPICE_ASSIGN_OR_RETURN(const kernels::ModelFormats formats,
                           choose_formats(arguments.compute, {kernels::WeightKind::kBF16}, backend->device()));
  COPPICE_ASSIGN_OR_RETURN(const kernels::MachineFigures machine,
                           kernels::measure_machine(backend->device().name(), cuda_options_from_environment()));
  const bool few_bits = kernels::is_quantised(formats.packing().storage_of({kernels::WeightKind::kBF16}));
  const double peak = machine.product_gflops(formats.compute, few_bits);
  print_report({{"machine", machine_json(machine)}}, arguments.json);
  for (const Product& product : products) {
    COPPICE_ASSIGN_OR_RETURN(kernels::LinearBench bench,
                             kernels::LinearBench::make({.in_features = product.in_features,
                                                         .out_features = product.out_features,
                                                         .packing = formats.packing(),
                                                         .seconds = arguments.seconds},
                                                        *backend));
    for (const std::int64_t count : rows) {
      COPPICE_ASSIGN_OR_RETURN(const double us, bench.measure(count));
      const double gb_per_s = static_cast<double>(bench.weight_bytes()) / us * 1e-3;
      const double gflops = 2e-3 * static_cast<double>(count * product.in_features * product.out_features) / us;
      print_report({{"name", product.name},
                    {"rows", count},
                    {"storage", kernels::storage_name(formats.storage)},
                    {"us", us},
                    {"gb_per_s", gb_per_s},
                    {"gflops", gflops},
                    {"bound_share", std::max(gb_per_s / machine.read_gb_per_s, gflops / peak)}},
                   arguments.json);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void add_bench_linear_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("linear", "matrix products of a shape at several numbers of rows");
  add_examples(*command, {"coppice bench linear --shape 160m --rows \"1 8\" --quant int4"});
  auto arguments = std::make_shared<LinearBenchArguments>();
  command->add_flag("--json", arguments->json, "one JSON object a product, on a line each");
  auto flags = std::make_shared<CommandOptions>(*command, linear_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_linear(*arguments, *flags); }; });
}

}  // namespace coppice::server
