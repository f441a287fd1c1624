// FakeExecutor: the engine's truth oracle. Its "KV" holds, for each slot, a hash of (token, position, everything
// attended to before); its "logits" are the hash of all keys a row attends to, found through the page tables it is
// given. So one wrong page, stale page, missed row, wrong position or mis-accepted draft changes the text.
// Oracle computes the same answers from the tokens alone, with code that shares nothing with the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/events.h"
#include "engine/request.h"
#include "engine/step_plan.h"
#include "kernels/sampling.h"
#include "tests/support/attention_check.h"

namespace coppice::testing {

struct FakeModel {
  std::int32_t vocab = 50;
  std::vector<TokenId> eos;
  std::int32_t context = 1 << 20;  // prompt + output
  std::uint64_t broken_in = 0;     // 1/broken_in of the states have logits that are no numbers; 0 = none

  bool is_broken(std::uint64_t state) const { return broken_in != 0 && state % broken_in == 0; }
};

// What a model knows after reading tokens: fed one at a time.
class FakeReader {
 public:
  void read(TokenId token);
  std::uint64_t state() const { return state_; }
  std::int32_t count() const { return count_; }

 private:
  std::uint64_t state_ = 0;
  std::int32_t count_ = 0;
};

// Draws (or scores) from a reading's state, as a backend would from logits.
kernels::SamplingResult fake_sample(std::uint64_t state, const kernels::SamplingRow& row, std::int32_t vocab);

// Numbers of a hidden state.
inline constexpr std::size_t kFakeHidden = 3;
// The hidden state that belongs to a reading's state.
std::vector<float> fake_hidden(std::uint64_t state);

// The answer to one choice of `request`, from the tokens alone. `seed` is the choice's own.
struct Answer {
  std::vector<engine::TokenInfo> tokens;
  std::vector<engine::TokenInfo> prompt;
  std::vector<float> reading;
  engine::FinishReason finish = engine::FinishReason::kNone;  // kError: after the tokens come broken logits
  bool has_broken_prompt = false;                             // among the prompt's scores, when asked for
};
Answer direct_answer(const engine::Request& request, std::uint64_t seed, const FakeModel& model);
// What a reading request reads about one of its branches.
Answer direct_reading(const engine::Request& request, std::size_t branch, const FakeModel& model);

// Owner: an engine. Thread: the engine's.
class FakeExecutor final : public engine::StepExecutor {
 public:
  struct Options {
    std::int32_t pages = 0;
    std::int32_t page_size = 16;
    std::int32_t step_tokens_max = 0;
    std::int32_t step_logits_max = 0;
    std::uint32_t submit_fails_in = 0;   // 1/submit_fails_in of the submits fail; 0 = none
    std::uint32_t collect_fails_in = 0;  // likewise for collects
    std::uint64_t seed = 0;              // of the failures
    bool asynchronous = false;           // says that submit() only starts a step
    std::int32_t works_for = 0;          // how often in a step it says that it is still working
    std::function<void()> meanwhile;     // called each time it says so
    std::uint64_t device_ns = 0;         // how long it says that every step took
  };
  FakeExecutor(const FakeModel& model, const Options& options);

  bool is_asynchronous() const override { return options_.asynchronous; }
  bool is_working() const override;
  void prepare(const engine::StepPlan& plan) override;
  absl::Status submit(const engine::StepPlan& plan) override;
  void draw(const engine::StepPlan& plan) override;
  absl::StatusOr<engine::StepResult> collect() override;

  // What was prepared, and of it what was then submitted under the same number.
  std::int64_t prepared() const { return prepared_count_; }
  std::int64_t submitted_as_prepared() const { return as_prepared_; }

 private:
  enum class Phase : std::uint8_t { kIdle, kSubmitted, kDrawn };

  bool fails(std::uint32_t one_in);
  void check_prepared(const engine::StepPlan& plan);
  void check_shape(const engine::StepPlan& plan) const;
  void check_row(const engine::StepPlan& plan, std::size_t index) const;
  void attend(const engine::StepPlan& plan, const engine::StepRow& row);

  const FakeModel model_;
  const Options options_;
  std::uint64_t events_ = 0;
  mutable std::int32_t asked_ = 0;  // is_working() in this step
  bool collect_fails_ = false;
  AttentionCheck attention_;
  std::vector<std::uint64_t> kv_;                 // by slot
  std::vector<std::uint64_t> written_;            // by slot: the step that last wrote it
  std::vector<std::uint64_t> states_;             // by token row
  std::vector<std::uint64_t> fresh_;              // by token row: its key, before it is stored
  std::vector<kernels::SamplingResult> drawn_;    // of the step that was submitted
  std::vector<kernels::SamplingResult> results_;  // of the step that was collected
  std::vector<float> read_;                       // hidden states of the step that was submitted
  std::vector<float> hidden_;                     // of the step that was collected
  Phase phase_ = Phase::kIdle;
  engine::StepPlan prepared_;
  std::int64_t prepared_count_ = 0;
  std::int64_t as_prepared_ = 0;
  std::uint64_t step_ = 0;
  std::int64_t attended_ = 0;
};

}  // namespace coppice::testing
