// `coppice bench front`.
#include "base/status_macros.h"
#include "server/commands/bench_commands.h"
#include "server/commands/model_path.h"
#include "server/front_bench/front_bench.h"

namespace coppice::server {
namespace {

struct FrontBenchArguments {
  FrontBenchOptions bench;
  ModelChoice model{.text = "demo"};
  bool json = false;
};

OptionTable front_table(FrontBenchArguments& arguments) {
  FrontBenchOptions& bench = arguments.bench;
  OptionTable table;
  table.add_text("api", &bench.api, "how the clients ask", {"http", "grpc"});
  table.add_text("model", &arguments.model.text, "whose tokenizer and chat template");
  table.add_integer("streams", &bench.streams, 1, 20000, "chats at once");
  table.add_integer("tokens", &bench.tokens, 2, 100000, "tokens of each");
  table.add_number("step-ms", &bench.step_ms, 0.1, 10000, "milliseconds between two tokens of a chat");
  table.add_number("ramp", &bench.ramp_s, 0.001, 600, "seconds over which the chats begin");
  table.add_integer("threads", &bench.threads, 1, 64, "threads of the front end");
  table.add_integer("connections", &bench.connections, 0, 1000, "of gRPC; 0: one for every hundred chats");
  arguments.model.add_to(table);
  return table;
}

absl::Status bench_front(FrontBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  const FrontBenchOptions& bench = arguments.bench;
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
  COPPICE_ASSIGN_OR_RETURN(const FrontBenchResult result, run_front_bench(bench, *package));
  print_report({{"api", bench.api},
                {"streams", bench.streams},
                {"step_ms", bench.step_ms},
                {"threads", bench.threads},
                {"tokens", result.tokens},
                {"offered_tokens_per_s", result.offered_tokens_per_s},
                {"tokens_per_s", result.tokens_per_s},
                {"added_ms_p50", result.added_p50},
                {"added_ms_p99", result.added_p99},
                {"added_ms_max", result.added_max},
                {"first_token_added_ms_p50", result.first_added_p50},
                {"first_token_added_ms_p99", result.first_added_p99},
                {"server_us_per_token", result.server_us_per_token},
                {"client_us_per_token", result.client_us_per_token}},
               arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_front_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("front", "what HTTP and gRPC cost and add, without a model");
  add_examples(*command, {"coppice bench front --api grpc --streams 1000 --step-ms 30"});
  auto arguments = std::make_shared<FrontBenchArguments>();
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, front_table(*arguments), /*with_config=*/false);
  command->callback([arguments, flags, &run] { run = [arguments, flags] { return bench_front(*arguments, *flags); }; });
}

}  // namespace coppice::server
