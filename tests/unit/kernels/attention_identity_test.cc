// The promise: a row's attention is the same to the bit, whatever else is in the step and however it is cut up.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <utility>
#include <vector>

#include "tests/unit/kernels/attention_support.h"

namespace coppice::kernels {
namespace {

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<float> rows_of(const std::vector<float>& out, std::int32_t begin, std::int32_t count, std::size_t width) {
  const auto first = out.begin() + static_cast<std::int64_t>(static_cast<std::size_t>(begin) * width);
  return {first, first + static_cast<std::int64_t>(static_cast<std::size_t>(count) * width)};
}

// Every instruction set of this machine with every cache format; a group of one, so that single rows stand against
// tiles of every size, and a larger one. What a group changes is the same in every format: 8 bits stand for one only.
std::vector<AttentionBench::Options> variants() {
  std::vector<AttentionBench::Options> result;
  for (const cpu::Isa isa : {cpu::Isa::kGeneric, cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16}) {
    for (const KvKind kind : {KvKind::kF32, KvKind::kBF16, KvKind::kInt8}) {
      for (const bool grouped : {false, true}) {
        AttentionBench::Options options;
        options.isa = isa;
        options.dtype = kind == KvKind::kF32 ? ComputeType::kF32 : ComputeType::kBF16;
        options.kv = KvFormat{kind};
        options.key_heads = 2;
        options.query_heads = !grouped ? 2 : kind == KvKind::kF32 ? 6 : 8;
        options.head_dim = kind == KvKind::kBF16 ? 64 : 40;
        if (isa <= cpu::best_isa() && !(grouped && kind == KvKind::kInt8)) {
          result.push_back(options);
        }
      }
    }
  }
  return result;
}

TreeShape mixed_shape() {
  TreeShape shape;
  shape.depth = 3;
  shape.leaves_most = 9;
  shape.tokens_most = 250;
  shape.chunk_most = 60;
  shape.drafts_most = 6;
  shape.empty_suffix = 0.3;
  return shape;
}

TEST_CASE("sharing, chaining, workers and threads do not change a bit", "[attention][identity]") {
  std::mt19937_64 random(21);
  for (AttentionBench::Options options : variants()) {
    for (const std::int32_t window : {0, 90}) {
      const TestStep step = random_tree(mixed_shape(), 16 << random() % 3, random);
      const auto sequences = step.plan_sequences();
      std::vector<std::vector<float>> outs;
      for (const int threads : {1, 2, 3}) {
        options.threads = threads;
        AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
        for (const bool sharing : {true, false}) {
          for (const bool chaining : {true, false}) {
            for (const std::int32_t workers : {1, 3, 40}) {
              PlanOptions plan_options = bench.plan_options(step);
              plan_options.window = window;
              plan_options.sharing = sharing;
              plan_options.chaining = chaining;
              plan_options.workers = workers;
              AttentionPlanner planner;
              outs.push_back(bench.run(planner.plan(sequences, plan_options)));
            }
          }
        }
      }
      for (const std::vector<float>& out : outs) {
        REQUIRE(same_bits(out, outs[0]));
      }
    }
  }
}

// Enough key heads and items that the CPU hands tasks out in rounds of heads, with items that wait for others.
TEST_CASE("many heads in rounds, handed to any number of threads, give the same bits", "[attention][identity]") {
  std::mt19937_64 random(24);
  for (int round = 0; round < 6; ++round) {
    TreeShape shape;
    shape.depth = 4;
    shape.depth_least = 2;
    shape.leaves_most = 40;
    shape.tokens_most = 400;
    shape.drafts_most = round % 2 == 0 ? 0 : 3;
    const TestStep step = random_tree(shape, 16, random);
    const auto sequences = step.plan_sequences();
    for (const std::int32_t heads : {5, 8, 12}) {
      std::vector<std::vector<float>> outs;
      for (const int threads : {1, 2, 3, 7}) {
        AttentionBench::Options options;
        options.threads = threads;
        options.key_heads = heads;
        options.query_heads = heads * 2;
        options.head_dim = 16;
        AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
        for (const bool sharing : {true, false}) {
          PlanOptions plan_options = bench.plan_options(step);
          plan_options.sharing = sharing;
          plan_options.workers = 2;
          AttentionPlanner planner;
          outs.push_back(bench.run(planner.plan(sequences, plan_options)));
        }
      }
      for (const std::vector<float>& out : outs) {
        REQUIRE(same_bits(out, outs[0]));
      }
    }
  }
}

TEST_CASE("a sequence alone, in rows of any number, gets the same bits", "[attention][identity]") {
  std::mt19937_64 random(22);
  for (const AttentionBench::Options& options : variants()) {
    TreeShape shape = mixed_shape();
    shape.drafts_most = 0;
    shape.chunk_most = 200;
    const std::int32_t window = random() % 2 == 0 ? 0 : 70;
    const TestStep step = random_tree(shape, 16, random);
    AttentionBench bench(options, step.pages_used, step.page_size, step.row_count());
    PlanOptions plan_options = bench.plan_options(step);
    plan_options.window = window;
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    const std::vector<float> out = bench.run(planner.plan(sequences, plan_options));
    const auto width = static_cast<std::size_t>(options.query_heads * options.head_dim);
    for (const TestSequence& sequence : step.sequences) {
      for (const std::int32_t chunk : {1, 16, 512}) {
        for (std::int32_t row = 0; row < sequence.row_count; row += chunk) {
          const std::int32_t count = std::min(chunk, sequence.row_count - row);
          const PlanSequence alone{sequence.pages, 0, count, sequence.position_begin + row, {}, -1, 0};
          const AttentionPlan& plan = planner.plan(std::span(&alone, 1), plan_options);
          const std::int32_t first = sequence.row_begin + row;
          REQUIRE(same_bits(bench.run(plan, ComputeType::kF32, first), rows_of(out, first, count, width)));
        }
      }
    }
  }
}

TEST_CASE("a drafted path gets the bits of the plain continuation", "[attention][identity]") {
  std::mt19937_64 random(23);
  for (const AttentionBench::Options& options : variants()) {
    for (const std::int32_t window : {0, 50}) {
      TreeShape shape = mixed_shape();
      shape.chunk_most = 1;
      shape.drafts_most = 24;
      const TestStep step = random_tree(shape, 16, random);
      // Room behind the step's pages for one copy of a path.
      constexpr std::int32_t kRoom = 4;
      AttentionBench bench(options, step.pages_used + kRoom, step.page_size, step.row_count());
      PlanOptions plan_options = bench.plan_options(step);
      plan_options.window = window;
      AttentionPlanner planner;
      const auto sequences = step.plan_sequences();
      const std::vector<float> out = bench.run(planner.plan(sequences, plan_options));
      const auto width = static_cast<std::size_t>(options.query_heads * options.head_dim);
      for (std::size_t i = 0; i < step.sequences.size(); ++i) {
        const TestSequence& sequence = step.sequences[i];
        for (std::int32_t row = 1; row < sequence.row_count; ++row) {
          // The path copied to consecutive positions, as move_slots does after acceptance.
          const std::vector<KvSlot> slots = step.row_slots(i, row);
          const auto length = static_cast<std::int32_t>(slots.size());
          const std::int32_t kept = sequence.position_begin / step.page_size;
          std::vector<PageId> pages(sequence.pages.begin(), sequence.pages.begin() + kept);
          for (PageId page = step.pages_used; static_cast<std::int32_t>(pages.size()) * step.page_size < length;
               ++page) {
            pages.push_back(page);
          }
          REQUIRE(pages.size() <= static_cast<std::size_t>(kept + kRoom));
          std::vector<SlotMove> moves;
          for (std::int32_t position = kept * step.page_size; position < length; ++position) {
            moves.push_back({slots[static_cast<std::size_t>(position)],
                             pages[static_cast<std::size_t>(position / step.page_size)] * step.page_size +
                                 position % step.page_size});
          }
          bench.backend().device().move_slots(bench.cache(), moves);
          const PlanSequence linear{pages, 0, 1, length - 1, {}, -1, 0};
          const AttentionPlan& plan = planner.plan(std::span(&linear, 1), plan_options);
          const std::int32_t first = sequence.row_begin + row;
          REQUIRE(same_bits(bench.run(plan, ComputeType::kF32, first), rows_of(out, first, 1, width)));
        }
      }
    }
  }
}

TEST_CASE("a chain of drafts is an ordinary continuation", "[attention][identity]") {
  TestSequence sequence;
  for (PageId page = 0; page < 20; ++page) {
    sequence.pages.push_back(page);
  }
  sequence.position_begin = 250;
  sequence.row_count = 9;
  sequence.draft_parents = {-1, 0, 1, 2, 3, 4, 5, 6};
  TestStep step;
  step.sequences = {sequence};
  const auto drafted = step.plan_sequences();
  auto plain = drafted;
  plain[0].draft_parents = {};
  AttentionPlanner planner;
  PlanOptions options;
  const AttentionPlan& plan = planner.plan(drafted, options);
  CHECK(plan.slots.empty());
  AttentionBench bench({}, 20, 16, 9);
  const std::vector<float> out = bench.run(plan);
  CHECK(same_bits(out, bench.run(planner.plan(plain, options))));
}

// What lies in slots that a row may not see (later tokens, stale pages of a diverged model) must not reach it.
TEST_CASE("NaN and infinity beyond a row's limits do not touch it", "[attention][identity]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const AttentionBench::Options& options : variants()) {
    TestStep step;
    TestSequence sequence;
    for (PageId page = 0; page < 20; ++page) {
      sequence.pages.push_back(page);
    }
    sequence.position_begin = 230;
    sequence.row_count = 40;
    sequence.draft_parents = {};
    step.sequences = {sequence};
    AttentionBench bench(options, 20, 16, 40);
    AttentionPlanner planner;
    const auto sequences = step.plan_sequences();
    for (const std::int32_t window : {0, 60}) {
      PlanOptions plan_options = bench.plan_options(step);
      plan_options.window = window;
      const AttentionPlan& plan = planner.plan(sequences, plan_options);
      const std::vector<float> before = bench.run(plan);
      const auto width = static_cast<std::size_t>(options.key_heads * options.head_dim);
      // Poisons everything from the row's successor on, and everything below the window.
      const std::int32_t row = 17;
      std::vector<KvSlot> slots;
      for (KvSlot slot = sequence.position_begin + row + 1; slot < 320; ++slot) {
        slots.push_back(slot);
      }
      for (KvSlot slot = 0; window > 0 && slot < sequence.position_begin - window + 1; ++slot) {
        slots.push_back(slot);
      }
      std::vector<float> keys(slots.size() * width);
      std::vector<float> values(keys.size());
      for (std::size_t i = 0; i < keys.size(); ++i) {
        keys[i] = i % 3 == 0 ? nan : i % 3 == 1 ? infinity : -infinity;
        values[i] = i % 2 == 0 ? nan : -infinity;
      }
      bench.write(slots, keys, values);
      const std::vector<float> after = bench.run(plan);
      const auto out_width = static_cast<std::size_t>(options.query_heads * options.head_dim);
      REQUIRE(same_bits(rows_of(after, 0, row + 1, out_width), rows_of(before, 0, row + 1, out_width)));
      // A broken row is seen to be broken.
      CHECK(std::isnan(after[static_cast<std::size_t>(row + 1) * out_width]));
      std::vector<float> zeros(keys.size(), 0.5F);
      bench.write(slots, zeros, zeros);
    }
  }
}

}  // namespace
}  // namespace coppice::kernels
