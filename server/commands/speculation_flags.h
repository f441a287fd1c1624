// The --speculation… flags, the same for every command that runs an engine.
#pragma once

#include <string>

#include "engine/limits.h"
#include "server/config/option_table.h"

namespace coppice::server {

// Text as it was given; apply() puts it into the engine's options.
struct SpeculationFlags {
  std::string mode = "suffix";
  std::string scoring = "blended";
  double alpha = 1.0;

  // compares: the command also has --speculation both.
  void add_to(OptionTable& table, engine::EngineOptions& options, bool compares = false);
  void apply(engine::EngineOptions& options) const;
};

}  // namespace coppice::server
