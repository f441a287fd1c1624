// Two engines on one model, pass by pass.
#include "server/bench/speculation_pairs.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <utility>

#include "base/status_macros.h"
#include "engine/runner.h"

namespace coppice::server {
namespace {

absl::StatusOr<std::unique_ptr<engine::Engine>> make_engine_without(const engine::EngineOptions& options,
                                                                    LoadedModel& model) {
  engine::EngineOptions without = options;
  without.speculation = false;
  COPPICE_ASSIGN_OR_RETURN(auto runner, engine::make_runner(*model.transformer, *model.backend, model.limits, without));
  return engine::Engine::create(model.limits, without, model.config, std::move(runner));
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&values](double part) {
    const double place = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - std::floor(place)) * (values[above] - values[below]);
  };
  return {values.front(), at(1.0 / 4), at(1.0 / 2), at(3.0 / 4), values.back()};
}

Spread SpeculationPairs::ratios(double EngineBenchResult::*rate) const {
  std::vector<double> values;
  std::transform(pairs.begin(), pairs.end(), std::back_inserter(values),
                 [rate](const SpeculationPair& pair) { return pair.ratio(rate); });
  return spread_of(std::move(values));
}

absl::StatusOr<SpeculationPairs> run_speculation_pairs(const EngineBenchOptions& options,
                                                       const engine::EngineOptions& engine, LoadedModel& model,
                                                       const kernels::MachineFigures& machine) {
  COPPICE_ASSIGN_OR_RETURN(const auto without, make_engine_without(engine, model));
  SpeculationPairs result;
  result.has_same_answers = true;
  for (std::int32_t pass = 0; pass <= options.repeat; ++pass) {
    SpeculationPair pair;
    for (const bool speculates : {pass % 2 == 1, pass % 2 == 0}) {
      COPPICE_ASSIGN_OR_RETURN((speculates ? pair.on : pair.off),
                               run_engine_pass(options, pass, model, speculates ? *model.engine : *without, machine));
    }
    result.has_same_answers = result.has_same_answers && pair.off.record.answers == pair.on.record.answers;
    if (pass == 0) {
      result.first = std::move(pair);
    } else {
      result.pairs.push_back(std::move(pair));
    }
  }
  return result;
}

}  // namespace coppice::server
