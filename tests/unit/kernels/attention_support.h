// Steps of attention made up for tests: random prefix trees with ragged lengths, prompt chunks, draft trees and
// windows; a KV cache full of known numbers; and attention in float64, written from its definition, to judge by.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "kernels/attention_plan.h"
#include "kernels/backend.h"
#include "kernels/host/isa.h"

namespace coppice::kernels {

struct TestSequence {
  std::vector<PageId> pages;
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  std::int32_t position_begin = 0;
  std::vector<std::int32_t> draft_parents;
  std::uint64_t identity = 0;
};

// Sequences in depth-first order with their page tables. A value.
struct TestStep {
  std::vector<TestSequence> sequences;
  std::int32_t page_size = 16;
  std::int32_t pages_used = 0;

  std::int32_t row_count() const;
  std::vector<PlanSequence> plan_sequences() const;
  // Rows get their numbers in order.
  void number_rows();
  // KV slots that a row of a sequence attends to, in order of position; the last one is its own. Straight from the
  // definition in attention_plan.h.
  std::vector<KvSlot> row_slots(std::size_t sequence, std::int32_t row) const;
};

struct TreeShape {
  std::int32_t depth = 3;        // levels below a root
  std::int32_t depth_least = 0;  // every root draws its own
  std::int32_t roots_most = 2;
  std::int32_t children_most = 4;
  std::int32_t children_least = 1;
  std::int32_t leaves_most = 32;
  std::int32_t tokens_most = 300;     // of a node
  std::int32_t leaf_tokens_most = 0;  // of a node without children; 0: as any other
  std::int32_t chunk_most = 1;        // rows of a sequence
  std::int32_t drafts_most = 0;       // draft nodes of a sequence
  double empty_suffix = 0.1;          // chance that a leaf adds nothing
  double one_token = 0.1;             // chance that a node has one token
};

TestStep random_tree(const TreeShape& shape, std::int32_t page_size, std::mt19937_64& random);

// A backend, a cache full of random K and V, and Q of a step. `layers` of the cache hold different numbers; layer 1 is
// used, so that a wrong layer shows.
class AttentionBench {
 public:
  struct Options {
    std::int32_t query_heads = 4;
    std::int32_t key_heads = 2;
    std::int32_t head_dim = 64;
    ComputeType dtype = ComputeType::kBF16;  // of queries
    std::optional<KvFormat> kv = {};         // of keys and values; none: as queries
    int threads = 2;
    cpu::Isa isa = cpu::best_isa();
    std::uint64_t seed = 1;
    double spread = 1.0;                                          // of Q and K: large makes the softmax sharp
    std::function<std::unique_ptr<Backend>()> open_backend = {};  // empty: the CPU's, with threads and isa

    KvFormat kv_format() const { return kv.value_or(kv_format_of(dtype)); }
  };
  AttentionBench(const Options& options, std::int32_t pages, std::int32_t page_size, std::int32_t rows);

  // out [plan rows, query_heads * head_dim], f32; the plan's first row has the query of `first_row`.
  std::vector<float> run(const AttentionPlan& plan, ComputeType out_dtype = ComputeType::kF32,
                         std::int32_t first_row = 0);
  // One row and head in float64.
  std::vector<double> reference(const std::vector<KvSlot>& slots, std::int32_t window, std::int32_t row,
                                std::int32_t head) const;
  // Error of one row of a sequence, |out - reference| / |reference| in the 2-norm over all heads.
  double row_error(const TestStep& step, std::size_t sequence, std::int32_t row, std::int32_t window,
                   const std::vector<float>& out) const;
  // Largest error of any row.
  double error(const TestStep& step, std::int32_t window, const std::vector<float>& out) const;

  PlanOptions plan_options(const TestStep& step) const;
  Backend& backend() { return *backend_; }
  KvCache& cache() { return *cache_; }
  // Rewrites slots of layer 1 (K and V rows of key_heads * head_dim).
  void write(const std::vector<KvSlot>& slots, const std::vector<float>& keys, const std::vector<float>& values);
  float* query() { return query_.data(); }
  void upload_query();
  float key(KvSlot slot, std::int32_t head, std::int32_t dim) const;
  float value(KvSlot slot, std::int32_t head, std::int32_t dim) const;

 private:
  std::size_t index(KvSlot slot, std::int32_t head, std::int32_t dim) const;
  void fill(std::int32_t layer, std::int32_t slot_count, std::mt19937_64& random);
  void store(std::int32_t layer, const std::vector<KvSlot>& slots, const std::vector<float>& keys,
             const std::vector<float>& values);

  // Rounds the numbers of whole heads as the cache should, from the definition of its format.
  void round(std::span<float> numbers) const;

  Options options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<KvCache> cache_;
  std::vector<float> keys_;  // [slot][key_heads][head_dim], as the cache rounds them
  std::vector<float> values_;
  std::vector<float> query_;  // [rows][query_heads][head_dim], rounded
  Buffer query_memory_;
  std::int32_t rows_ = 0;
};

}  // namespace coppice::kernels
