// `coppice bench weights MODEL | --shape NAME --folder FOLDER`.
#include <algorithm>

#include "base/status_macros.h"
#include "server/app/device_options.h"
#include "server/bench/weights_bench.h"
#include "server/commands/bench_commands.h"
#include "server/commands/model_path.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

constexpr std::uint64_t kRandomSeed = 1;  // any: only the time to load the weights counts

struct WeightsBenchArguments {
  ModelChoice model;
  std::string shape;
  std::string folder;
  std::string device = "auto";
  std::int32_t repeat = 3;
  bool json = false;
};

OptionTable weights_table(WeightsBenchArguments& arguments) {
  OptionTable table;
  table.add_text("shape", &arguments.shape, "write random weights of this shape to --folder first: 160m, 1b, 8b, …");
  table.add_text("folder", &arguments.folder, "where to; kept, and used again by the next run");
  table.add_text("device", &arguments.device, "where to load them", {"auto", "cpu", "cuda"});
  table.add_integer("repeat", &arguments.repeat, 1, 1000, "how often; the quickest counts");
  arguments.model.add_to(table);
  return table;
}

absl::Status bench_weights(WeightsBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  if (arguments.shape.empty() != arguments.folder.empty() || arguments.model.text.empty() == arguments.shape.empty()) {
    return absl::InvalidArgumentError("give either a MODEL or --shape NAME with --folder FOLDER");
  }
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(arguments.device, cuda_options_from_environment()));
  if (!arguments.shape.empty()) {
    COPPICE_ASSIGN_OR_RETURN(const std::filesystem::path config, resolve_shape(arguments.shape));
    COPPICE_RETURN_IF_ERROR(write_random_model(config, kRandomSeed, arguments.folder));
  }
  COPPICE_ASSIGN_OR_RETURN(
      const auto package,
      open_model(arguments.shape.empty() ? arguments.model : arguments.model.with(arguments.folder)));
  COPPICE_ASSIGN_OR_RETURN(const WeightsBenchResult result, measure_weights(*package, arguments.repeat, *backend));
  const double best = *std::min_element(result.seconds.begin(), result.seconds.end());
  print_report({{"model", arguments.shape.empty() ? arguments.model.text : arguments.shape},
                {"file_bytes", result.file_bytes},
                {"seconds", result.seconds},
                {"gb_per_s", static_cast<double>(result.file_bytes) / best * 1e-9},
                {"device", backend->device().description()}},
               arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_weights_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("weights", "how fast weights come from files to the device");
  add_examples(*command, {"coppice bench weights demo"});
  auto arguments = std::make_shared<WeightsBenchArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp);
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, weights_table(*arguments), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_weights(*arguments, *flags); }; });
}

}  // namespace coppice::server
