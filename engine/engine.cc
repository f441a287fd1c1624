// Engine::create: the engine with the parts that a server needs.
#include "engine/engine.h"

#include <utility>
#include <vector>

#include "engine/engine_core.h"
#include "engine/speculation/suffix_speculator.h"

namespace coppice::engine {
namespace {

#ifdef NDEBUG
constexpr bool kDebugBuild = false;
#else
constexpr bool kDebugBuild = true;
#endif

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::create(const Limits& limits, const EngineOptions& options,
                                                       const models::ModelConfig& model,
                                                       std::unique_ptr<StepExecutor> executor) {
  if (limits.pages < 1 || limits.running_max < 1 || limits.step_tokens_max < limits.running_max ||
      limits.step_logits_max < limits.running_max || limits.model_tokens_max < 1) {
    return absl::InvalidArgumentError("engine limits do not fit together; derive them with derive_limits()");
  }
  EngineParts parts;
  parts.executor = std::move(executor);
  parts.check_integrity = kDebugBuild;
  if (options.speculation) {
    parts.speculator = std::make_unique<SuffixSpeculator>(options.suffix);
    parts.drafts.nodes_max = options.suffix.draft_max;
  }
  return std::make_unique<EngineCore>(limits, options, model, std::move(parts));
}

bool Engine::submit(Request request) {
  std::vector<Request> one;
  one.push_back(std::move(request));
  return !submit_all(std::move(one)).exists();
}

}  // namespace coppice::engine
