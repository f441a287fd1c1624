// The inner loops of attention (attention.h), one table per instruction set: one item for one key head, and the merge
// of one row's partials.
#pragma once

#include <cstdint>

#include "kernels/cpu/kv_layout.h"
#include "kernels/host/isa.h"

namespace coppice::kernels::cpu {

// The longest split (key_positions.h) in blocks of keys.
inline constexpr std::int32_t kSplitBlocksMax = 32;
inline constexpr std::int32_t kSplitKeysMax = kSplitBlocksMax * kBlockKeys;

// The arguments that all tasks of a call share. Rows of matrices are token rows; (m, l) and o of a partial slot are
// [slot][query_heads][2] and [slot][query_heads][dim_lanes].
struct AttentionCall {
  KvLayout layout;
  std::int32_t query_heads = 0;
  std::int32_t group = 1;  // query heads per key head
  std::int32_t window = 0;
  float scale = 1.0F;
  const std::int32_t* positions = nullptr;     // [rows]
  ComputeType query_type = ComputeType::kF32;  // f32 or bf16
  const std::uint8_t* query = nullptr;
  std::int64_t query_stride = 0;      // bytes
  std::int64_t query_head_bytes = 0;  // of one row and head
  std::uint8_t* out = nullptr;
  std::int64_t out_stride = 0;               // bytes
  ComputeType out_type = ComputeType::kF32;  // f32 or bf16
  float* partial_ml = nullptr;
  float* partial_o = nullptr;
};

// One item and one key head. A matrix row is one query head of the group for one token row.
struct AttentionTask {
  std::int32_t row_begin = 0;
  std::int32_t row_count = 0;
  const std::int32_t* bounds = nullptr;  // [splits + 1] key positions; the last one is the item's end
  std::int32_t splits = 0;
  const std::int32_t* pages = nullptr;  // page of key bounds[0], and on
  const std::int32_t* slots = nullptr;  // not null: a path item; slot of key bounds[0], and on
  std::int32_t partial_begin = -1;
  bool folds = true;
  bool continues = false;
  bool writes_output = true;
  std::int32_t key_head = 0;
  const std::uint32_t* words = nullptr;  // the head's pages in this layer
  // The first keys of the thread's next task, if it is known: prefetched at the end of this task.
  const std::uint32_t* next_words = nullptr;
  const std::int32_t* next_pages = nullptr;
  std::int32_t next_keys = 0;
  // Scratch of one thread, each part 64-byte aligned.
  float* resident_o = nullptr;              // [kResidentRows][dim_lanes]
  std::uint32_t* resident_query = nullptr;  // [kResidentRows][dim_lanes], units of queries that are not such
  float* scores = nullptr;                  // [kTileRowsMax][kSplitKeysMax]
  std::uint32_t* weights = nullptr;         // [kTileRowsMax][kSplitKeysMax]
  std::uint32_t* gathered = nullptr;        // [kSplitBlocksMax][a K and a V block]
};

// A table of functions; immutable.
struct AttentionBody {
  void (*run)(const AttentionCall& call, const AttentionTask& task);
  // Merges `count` partial slots of one token row, in the order of the list, and writes the row's output for query
  // heads [head_begin, head_end). scratch: dim_lanes floats.
  void (*merge)(const AttentionCall& call, std::int32_t row, const std::int32_t* slots, std::int32_t count,
                std::int32_t head_begin, std::int32_t head_end, float* scratch);
};

COPPICE_DECLARE_BODY(AttentionBody, attention_body)

// Matrix rows whose results are kept at once: few enough to stay in a core's cache beside a split's keys. Chosen, not
// measured.
inline constexpr std::int32_t kResidentRows = 96;
inline constexpr std::int32_t kTileRowsMax = 8;

}  // namespace coppice::kernels::cpu
