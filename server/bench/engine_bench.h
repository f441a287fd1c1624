// `coppice bench engine`: the engine in-process, all requests at time 0, greedy, end-of-sequence ignored unless the
// requests are constrained. Steps are timed one by one and sorted into those that computed prompts and those that only
// decoded, so that the two rates do not blur.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/types.h"
#include "engine/constraint.h"
#include "kernels/machine_figures.h"
#include "server/model/model_loader.h"

namespace coppice::server {

struct EngineBenchOptions {
  std::int32_t requests = 1;
  std::int32_t shared_prefix = 0;   // tokens common to all prompts
  std::int32_t unique_prefix = 64;  // tokens of each request's own
  std::vector<TokenId> question;    // the last tokens of every prompt
  std::int32_t output = 64;
  double decode_seconds = 0;   // cancels the requests after this much decoding; 0 = let them finish
  std::int32_t repeat = 1;     // passes over the same prompts; the last one is reported
  bool fresh_prompts = false;  // each pass has prompts of its own
  bool logs_steps = false;     // EngineBenchResult::steps is filled
  bool attention = true;       // false: left out of every layer; the bound that sharing cannot beat
  double temperature = 0;      // 0 = greedy; random weights drawn at 1 never repeat themselves
  std::uint64_t seed = 1;
  std::uint64_t first_id = 1;                                  // of the requests; an engine sees no id twice at a time
  std::shared_ptr<const engine::ConstraintSource> constraint;  // of all requests, which end when it is complete
  std::string tree;  // prompts as the leaves of a prefix tree: "1,4,16_512,128,64"; replaces the three sizes above
};

// One step that drew tokens and computed no prompt.
struct StepRecord {
  std::int32_t rows = 0;
  std::int32_t draft_nodes = 0;
  std::uint64_t tokens = 0;  // drawn
  double expected_ms = 0;    // of the pass without attention, by the learned step costs; 0: unknown
  double body_ms = 0;        // what that took
  double step_ms = 0;        // all of the step
};

struct DraftFigures {
  double accepted_per_step = 0;       // tokens drawn a sequence and decode step
  std::uint64_t draft_tokens = 0;     // verified
  std::uint64_t accepted_tokens = 0;  // of those
  double speculation_share = 0;       // of the whole time: learning from tokens, proposing, choosing
};

struct ConstraintFigures {
  std::int64_t complete = 0;  // answers that ended by themselves, not by their length
  std::uint64_t tokens = 0;   // of all answers
  std::uint64_t masks = 0;
  double mask_us_p50 = 0;  // a mask, by step
  double mask_us_p99 = 0;
  double mask_share = 0;  // of the time of steps that made masks
  std::uint64_t forced_drafted = 0;
  std::uint64_t forced_accepted = 0;  // each saves its sequence a step
};

// What a pass leaves to be compared or looked at.
struct PassRecord {
  std::vector<std::vector<TokenId>> answers;  // of each request
  std::vector<StepRecord> steps;              // empty unless they are logged
};

struct EngineBenchResult {
  double wall_s = 0;
  double prefill_tokens_per_s = 0;  // prompt tokens computed in steps that computed any, over those steps' time
  double decode_tokens_per_s = 0;   // tokens drawn in steps that computed no prompt, over those steps' time
  double full_tokens_per_s = 0;     // the same of the steps that ran all requests, or the most allowed
  std::int64_t decode_steps = 0;
  double output_tokens_per_s = 0;  // all tokens drawn over the whole time
  double ttft_ms_p50 = 0;
  double step_ms_p50 = 0;  // of decode steps
  double step_ms_p99 = 0;
  double attention_share = 0;  // of the forward passes' time; 0 on a GPU, which does not tell
  // Of the decode steps' time: what was not the pass. On a device that works by itself, by its own clock: how long it
  // waited for the host, the copy of a step's inputs and the latency of launches included.
  double host_share = 0;
  std::uint64_t kv_tokens_attended = 0;
  std::uint64_t kv_tokens_read = 0;
  DraftFigures drafts;
  ConstraintFigures constraint;
  std::uint64_t prompt_tokens_computed = 0;
  std::uint64_t peak_rss_bytes = 0;
  double roofline = 0;          // least time the decode steps could take on this machine, over the time they took
  double prefill_roofline = 0;  // the same for the steps that computed prompts
  PassRecord record;
};

// Runs the passes on a loaded model's engine. ERRORS: InvalidArgument when prompts and outputs cannot fit; Internal
// when a request fails.
absl::StatusOr<EngineBenchResult> run_engine_bench(const EngineBenchOptions& options, LoadedModel& model,
                                                   const kernels::MachineFigures& machine);

// Pass `pass` alone, counted from 0, on an engine that runs on the model. ERRORS: the same.
absl::StatusOr<EngineBenchResult> run_engine_pass(const EngineBenchOptions& options, std::int32_t pass,
                                                  LoadedModel& model, engine::Engine& engine,
                                                  const kernels::MachineFigures& machine);

}  // namespace coppice::server
