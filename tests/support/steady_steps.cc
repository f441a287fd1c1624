// Steady decode steps of an engine for tools/step_files.py, which asks coverage which files they cross: four sequences
// on models/demo, long after their prompts and long before their ends. Counting starts when they are steady and stops
// before the first of them ends.
//
// Usage: steady_steps FOLDER with|without   (a model's folder; suffix trees or no drafts)
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "engine/engine_core.h"
#include "engine/runner.h"
#include "engine/speculation/suffix_speculator.h"
#include "tests/support/engine_harness.h"

// Of libgcov: only a build with --coverage has them.
extern "C" void __gcov_reset();
extern "C" void __gcov_dump();

namespace coppice::testing {
namespace {

constexpr std::int32_t kSequences = 4;
// Steps until the sequences repeat themselves, so that drafts are accepted, and steps that are counted. Two pages'
// worth, so that every sequence takes a new page and shows a full one to the prefix cache.
constexpr std::int32_t kStepsBefore = 96;
constexpr std::int32_t kStepsCounted = 32;

engine::Limits limits() {
  engine::Limits limits;
  limits.model_tokens_max = 1024;
  limits.step_tokens_max = 128;
  limits.step_logits_max = 128;
  limits.running_max = kSequences;
  limits.queued_max = 16;
  limits.page_size = 16;
  limits.pages = 512;
  limits.chunk_tokens_max = 128;
  return limits;
}

engine::Request request_of(std::int32_t index, const std::shared_ptr<engine::EventQueue>& events) {
  engine::Request request;
  request.id = static_cast<engine::RequestId>(index);
  for (std::int32_t i = 0; i < 48; ++i) {
    request.prompt.push_back(300 + 10 * index + i % 6);
  }
  request.sampling.temperature = 0;
  request.sampling.max_tokens = 960;
  request.sampling.ignore_eos = true;
  request.events = events;
  return request;
}

void run(const std::string& folder, bool drafts) {
  HarnessModel model = folder_model(folder, kernels::ComputeType::kBF16);
  const engine::EngineOptions options;
  engine::EngineParts parts;
  auto runner = engine::make_runner(*model.transformer, *model.backend, limits(), options);
  COPPICE_CHECK(runner.ok(), "the runner has memory");
  parts.executor = std::move(*runner);
  if (drafts) {
    parts.speculator = std::make_unique<engine::SuffixSpeculator>(engine::SuffixSpeculatorOptions());
    parts.drafts.takes_all = true;  // else the load of the machine decides whether there are drafts
  }
  engine::EngineCore core(limits(), options, model.transformer->config(), std::move(parts));
  const auto events = std::make_shared<engine::EventQueue>(nullptr);
  for (std::int32_t i = 0; i < kSequences; ++i) {
    COPPICE_CHECK(core.submit(request_of(i, events)), "the queue is large enough");
  }
  for (std::int32_t i = 0; i < kStepsBefore; ++i) {
    core.step();
  }
  const engine::EngineStats before = core.stats();
  __gcov_reset();
  for (std::int32_t i = 0; i < kStepsCounted; ++i) {
    core.step();
  }
  __gcov_dump();
  const engine::EngineStats after = core.stats();
  COPPICE_CHECK(after.running == kSequences, "every sequence is still decoding");
  COPPICE_CHECK(!drafts || after.drafts.accepted > before.drafts.accepted, "drafts are verified and accepted");
  std::printf("%d steps, %d tokens, %d draft nodes verified\n", static_cast<int>(after.steps - before.steps),
              static_cast<int>(after.generation_tokens - before.generation_tokens),
              static_cast<int>(after.drafts.tokens - before.drafts.tokens));
}

}  // namespace
}  // namespace coppice::testing

int main(int argc, char** argv) {
  const std::string_view drafts = argc == 3 ? argv[2] : "";
  if (drafts != "with" && drafts != "without") {
    std::fprintf(stderr, "usage: steady_steps FOLDER with|without\n");
    return 2;
  }
  coppice::testing::run(argv[1], drafts == "with");
  return 0;
}
