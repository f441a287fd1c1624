// `coppice bench NAME`, and `bench machine`, which the others compare themselves with.
#include "server/commands/bench_commands.h"

#include <cstdio>

#include "CLI/Validators.hpp"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/bench/machine_bench.h"
#include "server/app/device_options.h"
#include "server/model/model_loader.h"

namespace coppice::server {

nlohmann::ordered_json machine_json(const kernels::MachineFigures& machine) {
  return {{"read_gb_per_s", machine.read_gb_per_s},
          {"copy_gb_per_s", machine.copy_gb_per_s},
          {"bf16_gflops", machine.bf16_gflops},
          {"int8_gops", machine.int8_gops},
          {"f32_gflops", machine.f32_gflops},
          {"cores", machine.cores},
          {"isa", machine.isa}};
}

void print_report(const nlohmann::ordered_json& report, bool json) {
  if (json) {
    std::puts(report.dump().c_str());
    std::fflush(stdout);  // a long run that is stopped leaves what it has measured
    return;
  }
  for (const auto& [name, value] : report.items()) {
    fmt::print("{:<26}{}\n", name, value.dump());
  }
}

void add_bench_machine_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("machine", "what this machine can do at best, measured now");
  auto json = std::make_shared<bool>(false);
  auto device = std::make_shared<std::string>("cpu");
  command->add_flag("--json", *json, "one JSON object");
  command->add_option("--device", *device, "auto, cpu, cuda")->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  command->callback([json, device, &run] {
    run = [json, device]() -> absl::Status {
      COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(*device, cuda_options_from_environment()));
      COPPICE_ASSIGN_OR_RETURN(const kernels::MachineFigures machine,
                               kernels::measure_machine(backend->device().name(), cuda_options_from_environment()));
      print_report(machine_json(machine), *json);
      return absl::OkStatus();
    };
  });
}

void add_bench_commands(CLI::App& program, Run& run) {
  CLI::App* bench = program.add_subcommand(
      "bench", "benchmarks: engine, attention, speculation, decisions, serve, front, machine, weights");
  bench->require_subcommand(1);
  add_examples(*bench, {"coppice bench engine --shape 160m --requests 8", "coppice bench machine"});
  add_bench_engine_command(*bench, run);
  add_bench_attention_command(*bench, run);
  add_bench_linear_command(*bench, run);
  add_bench_speculation_command(*bench, run);
  add_bench_serve_command(*bench, run);
  add_bench_machine_command(*bench, run);
  add_bench_weights_command(*bench, run);
  add_bench_host_command(*bench, run);
  add_bench_front_command(*bench, run);
  add_bench_decisions_command(*bench, run);
}

}  // namespace coppice::server
