// `coppice bench NAME`.
#include "server/cli/bench_commands.h"

namespace coppice::server {

void add_bench_commands(CLI::App& program, Run& run) {
  CLI::App* bench = program.add_subcommand("bench", "benchmarks: engine, attention, serve, machine");
  bench->require_subcommand(1);
  add_bench_serve_command(*bench, run);
}

}  // namespace coppice::server
