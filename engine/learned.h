// Learned: what an engine keeps for the next run of the program: past outputs to draft from, and what steps cost on
// this machine.
#pragma once

#include <string>

#include "engine/speculation/snapshot_file.h"

namespace coppice::engine {

struct Learned {
  SpeculationSnapshot outputs;  // texts are shared, not copied
  std::string step_costs;       // StepCost::to_string(); empty = none
};

}  // namespace coppice::engine
