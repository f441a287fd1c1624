// `coppice bench speculation --sequences FILE`.
#include <array>

#include "base/status_macros.h"
#include "engine/speculation/bench/replay.h"
#include "server/commands/bench_commands.h"

namespace coppice::server {
namespace {

struct SpeculationBenchArguments {
  engine::SuffixSpeculatorOptions speculator;
  std::string sequences;
  std::string scoring = "blended";
  double prompt_fraction = 0.2;
  double survival_min = 0.1;
  bool frontier = false;
  bool json = false;
};

nlohmann::ordered_json to_json(const engine::ReplayResult& result) {
  return {{"tokens_per_step", result.tokens_per_step()},
          {"acceptance", result.acceptance()},
          {"proposed_per_step", result.proposed_per_step()},
          {"expected_acceptance", result.proposed == 0 ? 0 : result.expected / static_cast<double>(result.proposed)},
          {"speculate_us_p50", result.speculate_us_p50},
          {"speculate_us_p99", result.speculate_us_p99},
          {"append_us_per_token", result.append_us_per_token},
          {"observe_us_per_token", result.observe_us_per_token},
          {"prompt_us_per_token", result.prompt_us_per_token},
          {"bytes_per_token", result.bytes_per_token},
          {"own_bytes_per_token", result.own_bytes_per_token},
          {"sequences", result.sequences},
          {"tokens", result.tokens}};
}

nlohmann::ordered_json point(const char* name, double value, const engine::ReplayResult& result) {
  return {{name, value},
          {"proposed_per_step", result.proposed_per_step()},
          {"tokens_per_step", result.tokens_per_step()},
          {"acceptance", result.acceptance()}};
}

// Tokens a step of the blended scoring where it proposes `proposed` a step, between measured points.
double tokens_per_step_at(const std::vector<engine::ReplayResult>& blended, double proposed) {
  for (std::size_t i = 0; i + 1 < blended.size(); ++i) {
    const double low = blended[i].proposed_per_step();
    const double high = blended[i + 1].proposed_per_step();
    if (low <= proposed && proposed <= high && low < high) {
      const double share = (proposed - low) / (high - low);
      return blended[i].tokens_per_step() * (1 - share) + blended[i + 1].tokens_per_step() * share;
    }
  }
  return 0;
}

// Both scorings at several settings: the least survival of a guess for the blended one, alpha for the published.
nlohmann::ordered_json frontiers(const std::vector<engine::RecordedSequence>& sequences,
                                 engine::SuffixSpeculatorOptions options) {
  nlohmann::ordered_json report = {{"blended", nlohmann::ordered_json::array()},
                                   {"published", nlohmann::ordered_json::array()}};
  std::vector<engine::ReplayResult> blended;
  options.scoring = engine::DraftScoring::kBlended;
  options.survival_min = 0;
  for (const float survival_min : {0.7F, 0.5F, 0.35F, 0.25F, 0.17F, 0.12F, 0.08F, 0.05F, 0.03F, 0.02F}) {
    blended.push_back(engine::replay(sequences, options, survival_min));
    report["blended"].push_back(point("survival_min", survival_min, blended.back()));
  }
  options.scoring = engine::DraftScoring::kPublished;
  for (const bool paths : {true, false}) {
    options.published.paths = paths;
    for (const double alpha : {0.25, 0.5, 1.0, 2.0, 4.0}) {
      options.published.alpha = alpha;
      const engine::ReplayResult result = engine::replay(sequences, options, 0);
      nlohmann::ordered_json entry = point("alpha", alpha, result);
      entry["form"] = paths ? "path" : "tree";
      const double at_equal = tokens_per_step_at(blended, result.proposed_per_step());
      entry["blended_tokens_per_step_at_equal_proposals"] = at_equal;
      entry["gain"] = at_equal == 0 ? 0 : at_equal / result.tokens_per_step() - 1;
      report["published"].push_back(std::move(entry));
    }
  }
  return report;
}

absl::Status bench_speculation(SpeculationBenchArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  if (arguments.sequences.empty()) {
    return absl::InvalidArgumentError("--sequences FILE is missing: one sequence of token ids a line");
  }
  arguments.speculator.scoring =
      arguments.scoring == "published" ? engine::DraftScoring::kPublished : engine::DraftScoring::kBlended;
  COPPICE_ASSIGN_OR_RETURN(const std::vector<engine::RecordedSequence> sequences,
                           engine::read_sequences(arguments.sequences, arguments.prompt_fraction));
  arguments.speculator.survival_min = 0;
  nlohmann::ordered_json report =
      to_json(engine::replay(sequences, arguments.speculator, static_cast<float>(arguments.survival_min)));
  if (arguments.frontier) {
    report["frontier"] = frontiers(sequences, arguments.speculator);
  }
  print_report(report, arguments.json);
  return absl::OkStatus();
}

}  // namespace

void add_bench_speculation_command(CLI::App& bench, Run& run) {
  CLI::App* command =
      bench.add_subcommand("speculation", "drafts from past outputs: recorded sequences replayed one after the other");
  add_examples(*command, {"coppice bench speculation --sequences outputs.txt"});
  auto arguments = std::make_shared<SpeculationBenchArguments>();
  engine::SuffixSpeculatorOptions& speculator = arguments->speculator;
  OptionTable table;
  table.add_text("sequences", &arguments->sequences,
                 "one sequence of token ids a line, optional ` | ` after the prompt");
  table.add_number("prompt-fraction", &arguments->prompt_fraction, 0, 1, "of a line without ` | `");
  table.add_integer("max-draft", &speculator.draft_max, 1, 1024, "most guesses in a step");
  table.add_text("scoring", &arguments->scoring, "how guesses are judged", {"blended", "published"});
  table.add_number("alpha", &speculator.published.alpha, 0, 64, "published: guesses a matched token");
  table.add_number("survival-min", &arguments->survival_min, 0, 1, "guesses less likely are not made");
  table.add_bytes("memory", &speculator.memory_bytes, "for past outputs; the oldest go");
  command->add_flag("--frontier", arguments->frontier, "both scorings at many settings");
  command->add_flag("--json", arguments->json, "one JSON object");
  auto flags = std::make_shared<CommandOptions>(*command, std::move(table), /*with_config=*/false);
  command->callback(
      [arguments, flags, &run] { run = [arguments, flags] { return bench_speculation(*arguments, *flags); }; });
}

}  // namespace coppice::server
