// `coppice bench engine --speculation both`: the same requests with speculation off and on, in turn, on one model in
// one process, so that a machine which other programs use too treats both alike. Each pair of passes gives a ratio;
// what counts is how the ratios spread.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/limits.h"
#include "server/bench/engine_bench.h"

namespace coppice::server {

// Of some numbers: the middle one, and between which the middle half lies.
struct Spread {
  double least = 0;
  double quartile_low = 0;
  double median = 0;
  double quartile_high = 0;
  double most = 0;
};

// Quartiles are interpolated. REQUIRES: at least one.
Spread spread_of(std::vector<double> values);

// Two passes over the same requests.
struct SpeculationPair {
  EngineBenchResult off;
  EngineBenchResult on;

  // On over off, of a rate.
  double ratio(double EngineBenchResult::*rate) const { return off.*rate > 0 ? on.*rate / (off.*rate) : 0; }
};

struct SpeculationPairs {
  SpeculationPair first;  // of a program that has just started: it is not counted among the others
  std::vector<SpeculationPair> pairs;
  bool has_same_answers = false;  // in every pair, every token

  Spread ratios(double EngineBenchResult::*rate) const;
};

// options.repeat pairs, after one that is not counted among them; which of a pair comes first takes turns. The model's
// engine has speculation on; the other one, made as `engine` says, has a KV cache of its own. ERRORS: of
// run_engine_pass; of making the engine.
absl::StatusOr<SpeculationPairs> run_speculation_pairs(const EngineBenchOptions& options,
                                                       const engine::EngineOptions& engine, LoadedModel& model,
                                                       const kernels::MachineFigures& machine);

}  // namespace coppice::server
