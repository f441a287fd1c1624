// The states of a step, what is owed to the next one, and rows that lose their sequence.
#include "engine/step_pipeline.h"

#include <catch2/catch.hpp>
#include <memory>

namespace coppice::engine {
namespace {

// Remembers plans; fails when it is told to.
class Witness final : public StepExecutor {
 public:
  explicit Witness(bool asynchronous) : asynchronous_(asynchronous) {}
  bool is_asynchronous() const override { return asynchronous_; }
  absl::Status submit(const StepPlan& plan) override {
    if (fails) {
      return absl::InternalError("refused");
    }
    last = plan;
    submitted = &plan;
    return absl::OkStatus();
  }
  void draw(const StepPlan& plan) override { drawn = &plan; }
  absl::StatusOr<StepResult> collect() override {
    *collected += 1;
    return StepResult();
  }

  bool fails = false;
  int* collected = nullptr;
  StepPlan last;
  const StepPlan* submitted = nullptr;
  const StepPlan* drawn = nullptr;

 private:
  const bool asynchronous_;
};

struct Pipeline {
  explicit Pipeline(bool asynchronous) {
    auto executor = std::make_unique<Witness>(asynchronous);
    executor->collected = &collected;
    witness = executor.get();
    pipeline = std::make_unique<StepPipeline>(std::move(executor), base::real_clock());
  }
  // A step of two rows, chosen and written.
  void write(SequenceSlot first) {
    pipeline->choose(true, {});
    StepPlan& plan = pipeline->coming().plan;
    plan.clear();
    for (const SequenceSlot slot : {first, first + 1}) {
      StepRow row;
      row.slot = slot;
      row.token_count = 1;
      plan.rows.push_back(row);
      plan.tokens.push_back(slot);
    }
    pipeline->write();
  }

  int collected = 0;
  Witness* witness = nullptr;
  std::unique_ptr<StepPipeline> pipeline;
};

}  // namespace

TEST_CASE("a step goes from empty to landed, one or two at a time", "[pipeline]") {
  for (const bool asynchronous : {false, true}) {
    Pipeline world(asynchronous);
    StepPipeline& pipeline = *world.pipeline;
    CHECK(pipeline.depth() == (asynchronous ? 2 : 1));
    CHECK_FALSE(pipeline.is_chosen());
    world.write(10);
    CHECK(pipeline.is_chosen());
    CHECK(pipeline.was_tried());
    CHECK(pipeline.coming().state == StepState::kWritten);
    REQUIRE(pipeline.submit().ok());
    CHECK(pipeline.flying().state == StepState::kFlying);
    CHECK(world.witness->drawn == nullptr);
    pipeline.draw();
    CHECK(world.witness->drawn == &pipeline.flying().plan);
    CHECK_FALSE(pipeline.is_chosen());
    CHECK_FALSE(pipeline.was_tried());
    if (asynchronous) {
      pipeline.choose(false, {});  // stays incomplete
      CHECK_FALSE(pipeline.is_chosen());
      CHECK(pipeline.was_tried());
      world.write(20);
    }
    REQUIRE(pipeline.land().ok());
    CHECK(pipeline.landed().outcomes[0].sequence == 10);
    if (asynchronous) {
      REQUIRE(pipeline.submit().ok());
      CHECK(pipeline.flying().outcomes[1].sequence == 21);
    }
    pipeline.retire();
    CHECK(pipeline.is_flying() == asynchronous);
    CHECK(pipeline.coming().state == StepState::kEmpty);
  }
}

TEST_CASE("a row loses its sequence, but the plan in flight stays as it is", "[pipeline]") {
  Pipeline world(true);
  world.write(10);
  REQUIRE(world.pipeline->submit().ok());
  world.pipeline->drop(11);
  world.pipeline->drop(99);
  CHECK(world.pipeline->flying().outcomes[0].sequence == 10);
  CHECK(world.pipeline->flying().outcomes[1].sequence == kNoSequence);
  CHECK(world.witness->submitted->rows == world.witness->last.rows);
}

TEST_CASE("moves and copies are owed until a submission takes them along", "[pipeline]") {
  Pipeline world(false);
  world.pipeline->owed().moves.push_back({3, 4});
  const PageCopy copy{5, 6};
  world.pipeline->choose(false, {&copy, 1});
  world.witness->fails = true;
  world.write(10);
  CHECK_FALSE(world.pipeline->submit().ok());
  CHECK(world.pipeline->coming().state == StepState::kEmpty);
  CHECK(world.pipeline->coming().outcomes[1].sequence == 11);
  CHECK(world.pipeline->owed().moves.size() == 1);
  world.witness->fails = false;
  world.pipeline->owed().moves.push_back({7, 8});
  world.write(20);
  REQUIRE(world.pipeline->submit().ok());
  CHECK(world.witness->last.moves.size() == 2);
  CHECK(world.witness->last.moves[1].from == 7);
  CHECK(world.witness->last.copies.size() == 1);
  CHECK(world.pipeline->owed().moves.empty());
  CHECK(world.pipeline->owed().copies.empty());
}

TEST_CASE("a pipeline waits for its step before it goes, and gives up an empty one", "[pipeline]") {
  Pipeline world(true);
  world.pipeline->choose(true, {});
  world.pipeline->give_up();
  CHECK_FALSE(world.pipeline->is_chosen());
  CHECK_FALSE(world.pipeline->was_tried());
  world.write(10);
  REQUIRE(world.pipeline->submit().ok());
  CHECK(world.collected == 0);
  world.pipeline.reset();
  CHECK(world.collected == 1);
}

}  // namespace coppice::engine
