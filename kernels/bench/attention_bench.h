// How fast a backend attends over a tree of prefixes, with and without sharing, and how exact it is: the core of
// `coppice bench attention`. Uses the Backend interface alone, so it measures any device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace coppice::kernels {

// A tree by levels: nodes[i] nodes of tokens[i] tokens each, spread evenly below the level before. Every node of the
// last level is one decoding sequence. A value.
struct AttentionTree {
  std::vector<std::int32_t> nodes;
  std::vector<std::int32_t> tokens;

  std::int64_t sequences() const { return nodes.back(); }
  std::int64_t sequence_tokens() const;  // from the root to a leaf
  std::int64_t unique_tokens() const;    // of all nodes
};

// Reads "1,256_2048,256": nodes per level, `_`, tokens per level. ERRORS: InvalidArgument.
absl::StatusOr<AttentionTree> parse_attention_tree(std::string_view text);

// Reads "32/8": query heads / key heads. ERRORS: InvalidArgument.
struct HeadCounts {
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
};
absl::StatusOr<HeadCounts> parse_head_counts(std::string_view text);

struct AttentionBenchOptions {
  AttentionTree tree;
  std::int32_t query_heads = 32;
  std::int32_t key_heads = 8;
  std::int32_t head_dim = 128;
  ComputeType type = ComputeType::kBF16;  // of queries
  std::optional<KvFormat> kv = {};        // of keys and values; none: as queries
  std::int32_t page_size = 16;
  std::int32_t window = 0;
  double seconds = 1.0;                   // how long to repeat each of shared and unshared
  std::int32_t checked_rows = 4;          // rows compared with float64
  std::size_t cold_bytes = 256ULL << 20;  // the KV cache gets layers until it is larger than this, and they take turns
  std::size_t cache_bytes_max = 0;        // 0: 12 GiB on the CPU, nine tenths of what is free on another device

  KvFormat kv_format() const { return kv.value_or(kv_format_of(type)); }
};

struct AttentionBenchResult {
  double us = 0;               // one layer's attention with sharing, the quickest of the repetitions
  double us_unshared = 0;      // the same plan without sharing: Flash-Decoding
  double us_plan = 0;          // planning from scratch
  double us_plan_update = 0;   // planning when every sequence is one token further
  std::int64_t bytes_min = 0;  // K and V of every node once, Q and output
  double gb_per_s = 0;         // bytes_min over us
  double tflops = 0;           // 4 * head_dim per query head and attended key, over us
  double max_rel_error = 0;  // largest |out - float64| / |float64| of a checked row, 2-norm; of numbers not yet stored
  std::int64_t keys_attended = 0;
  std::int64_t keys_read = 0;
  std::int64_t keys_read_unshared = 0;
  std::int32_t sequences = 0;
  std::int32_t workers = 0;  // that the plans kept busy
};

// ERRORS: InvalidArgument, ResourceExhausted (the KV cache is larger than cache_bytes_max or than the memory).
absl::StatusOr<AttentionBenchResult> measure_attention(const AttentionBenchOptions& options, Backend& backend);

}  // namespace coppice::kernels
