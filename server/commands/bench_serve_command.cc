// `coppice bench serve`: the load generator's flags, its progress bar, table, JSON and picture.
#include <cstdio>
#include <fstream>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "server/app/progress_bar.h"
#include "server/bench/load.h"
#include "server/commands/bench_commands.h"

namespace coppice::server {
namespace {

struct ServeBenchArguments {
  LoadOptions load;
  std::string slo;
  bool json = false;
  std::string plot;
};

absl::Status bench_serve(ServeBenchArguments arguments) {
  if (!arguments.slo.empty()) {
    COPPICE_ASSIGN_OR_RETURN(arguments.load.goal, parse_latency_goal(arguments.slo));
  }
  COPPICE_ASSIGN_OR_RETURN(const std::vector<LoadRequest> requests, make_workload(arguments.load));
  LoadResult result;
  {
    ProgressBar bar("requests");
    COPPICE_ASSIGN_OR_RETURN(result, run_load(arguments.load, requests, [&bar](std::size_t done, std::size_t total) {
                               bar.update(done, total);
                             }));
  }
  if (arguments.json) {
    std::puts(load_report_json(arguments.load, result).c_str());
  } else {
    fmt::print("{}", load_report_table(arguments.load, result));
  }
  if (!arguments.plot.empty()) {
    std::ofstream file(arguments.plot);
    file << load_report_svg(arguments.load, result);
    if (!file.flush()) {
      return absl::PermissionDeniedError(fmt::format("--plot {}: cannot be written", arguments.plot));
    }
  }
  const bool any_fine = std::any_of(result.outcomes.begin(), result.outcomes.end(), [](const auto& o) { return o.ok; });
  return any_fine ? absl::OkStatus()
                  : absl::UnavailableError(fmt::format("no request succeeded: {}", result.outcomes.front().error));
}

}  // namespace

void add_bench_serve_command(CLI::App& bench, Run& run) {
  CLI::App* command = bench.add_subcommand("serve", "load generator for any OpenAI-compatible server");
  add_examples(*command, {"coppice bench serve --url http://127.0.0.1:8080 --model demo --synthetic "
                          "shared=500,unique=20,output=64 --concurrency 8 --requests 64",
                          "coppice bench serve --url http://127.0.0.1:8080 --model demo --trace requests.csv --speed 2 "
                          "--slo ttft=500,itl=50 --plot run.svg"});
  auto arguments = std::make_shared<ServeBenchArguments>();
  LoadOptions& load = arguments->load;
  command->add_option("--url", load.url, "http://HOST:PORT")->required();
  command->add_option("--model", load.model, "model name to ask for")->required();
  command->add_option("--dataset", load.dataset, "JSON lines with \"prompt\" or \"messages\"");
  command->add_option("--synthetic", load.synthetic,
                      "shared=N,unique=N,output=N,groups=N,vocab=N (words; ids with vocab)");
  TraceOptions& trace = load.trace;
  command->add_option("--trace", trace.path, "recorded requests, sent at their own times: a file or a folder of them");
  command->add_option("--speed", trace.speed, "divides a trace's times")->check(CLI::Range(1e-3, 1e6));
  command->add_option("--prompt-max", trace.prompt_max, "tokens kept of a trace's prompt (a text's: 4 bytes each)")
      ->check(CLI::Range(1, 10000000));
  command->add_option("--output-max", trace.output_max, "most tokens asked for of a trace's answer")
      ->check(CLI::Range(1, 10000000));
  command->add_option("--vocab", trace.vocab, "a trace's counted prompts as token ids below N instead of words")
      ->check(CLI::Range(4, 10000000));
  command->add_option("--slo", arguments->slo, "ttft=MS,itl=MS: report the requests that kept both");
  command->add_option("--concurrency", load.concurrency, "requests in flight")->check(CLI::Range(1, 100000));
  command->add_option("--rate", load.rate, "requests a second, Poisson arrivals")->check(CLI::PositiveNumber);
  command->add_option("--requests", load.requests, "how many; default: the dataset once")
      ->check(CLI::Range(1, 10000000));
  command->add_option("--max-tokens", load.max_tokens, "where the dataset or trace names none")
      ->check(CLI::Range(1, 1 << 20));
  command->add_option("--api-key", load.api_key, "sent as a bearer token");
  command->add_option("--seed", load.seed, "of prompts and arrivals");
  command->add_option("--timeout", load.timeout_s, "seconds for one request")->check(CLI::PositiveNumber);
  command->add_flag("!--stop-at-eos", load.ignore_eos, "let answers end early (servers that do not know ignore_eos)");
  command->add_flag("--json", arguments->json, "one JSON object instead of the table");
  command->add_option("--plot", arguments->plot, "write the distributions as an SVG file");
  command->callback([arguments, &run] { run = [arguments] { return bench_serve(*arguments); }; });
}

}  // namespace coppice::server
