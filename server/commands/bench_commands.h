// The benchmarks behind `coppice bench`: programs that people run, each printing a table or, with --json, one JSON
// object. They are declared one by one so that each stands in its own file.
#pragma once

#include "kernels/machine_figures.h"
#include "nlohmann/json.hpp"
#include "server/commands/command.h"

namespace coppice::server {

void add_bench_serve_command(CLI::App& bench, Run& run);
void add_bench_machine_command(CLI::App& bench, Run& run);
void add_bench_engine_command(CLI::App& bench, Run& run);
void add_bench_attention_command(CLI::App& bench, Run& run);
void add_bench_linear_command(CLI::App& bench, Run& run);
void add_bench_speculation_command(CLI::App& bench, Run& run);
void add_bench_weights_command(CLI::App& bench, Run& run);
void add_bench_host_command(CLI::App& bench, Run& run);
void add_bench_front_command(CLI::App& bench, Run& run);
void add_bench_decisions_command(CLI::App& bench, Run& run);

nlohmann::ordered_json machine_json(const kernels::MachineFigures& machine);

// Prints one JSON object on one line, or a line a member.
void print_report(const nlohmann::ordered_json& report, bool json);

}  // namespace coppice::server
