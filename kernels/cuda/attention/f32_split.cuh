// One row against the keys of one split, in float32 by one warp, without tensor cores.
//
// A split is walked in steps of sixteen keys from its beginning. For scores, eight lanes share a key, each with four
// neighbouring dimensions at a time; for results, each lane has columns of its own and sums the step's keys in order.
// The exponent's reference is the largest score so far.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/params.cuh"
#include "kernels/cuda/attention/tile.cuh"
#include "kernels/key_positions.h"

namespace coppice::kernels::cuda {

// dim: 128 or 256, for every head up to it.
template <std::int32_t dim>
struct AttentionF32Split {
  using Params = AttentionParams<float>;
  using Four = Vector<float, 4>;
  static constexpr std::int32_t kWarps = 4;                            // of a block: each takes a part of the keys
  static constexpr std::int32_t kKeyLanes = 8;                         // that share a key
  static constexpr std::int32_t kKeysAtOnce = kWarpLanes / kKeyLanes;  // of a warp
  static constexpr std::int32_t kPasses = kStepKeys / kKeysAtOnce;     // over a step's keys
  static constexpr std::int32_t kDepth = dim / (4 * kKeyLanes);  // pieces of four dimensions that a lane has of a key
  static constexpr std::int32_t kColumns =
      dim / (4 * kWarpLanes);  // pieces of four columns that a lane has of a result

  // Shared memory: control, then of every warp its step's weights and slots.
  static constexpr std::int32_t kWeightsBegin = kControlBytes;
  static constexpr std::int32_t kSlotsBegin = kWeightsBegin + kWarps * kStepKeys * 4;
  static constexpr std::int32_t kSharedBytesMax = kSlotsBegin + kWarps * kStepKeys * 4;

  // (m, l, o) of a row; exponents are of two.
  struct State {
    float m = kNoScore;
    float l = 0.0F;  // while a split is under way: this lane's share
    Four o[kColumns] = {};
  };

  // One row, and which keys of the unit's item it sees.
  struct Row {
    std::int32_t token;  // in the item
    std::int32_t head;   // query head
    std::int32_t key_head;
    std::int32_t lowest;
    std::int32_t end;
    Four query[kDepth];
  };

  static COPPICE_DEVICE Shared<float> step_weights() {
    return shared_array<float>(kWeightsBegin) + warp_index() * kStepKeys;
  }
  static COPPICE_DEVICE Shared<std::int32_t> step_slots() {
    return shared_array<std::int32_t>(kSlotsBegin) + warp_index() * kStepKeys;
  }
  static COPPICE_DEVICE bool sees(const Row& row, std::int32_t key) { return key >= row.lowest && key < row.end; }

  static COPPICE_DEVICE void find_slots(const Params& params, const Row& row, std::int32_t first_key) {
    const std::int32_t key = first_key + lane_index();
    if (lane_index() < kStepKeys && sees(row, key)) {
      const DeviceItem item = unit_item();
      const std::int32_t from_begin = key - item.key_begin;
      std::int32_t slot = 0;
      if (item.by_slot != 0) {
        slot = params.plan[item.places + from_begin];
      } else {
        const std::int32_t page = params.plan[item.places + from_begin / params.layout.page_size];
        slot = kv_slot(page, params.layout.page_size, key);
      }
      step_slots()[lane_index()] = slot;
    }
  }

  // s[i]: the score of key kKeysAtOnce * i + lane / kKeyLanes, in units of scale * log2(e) still to be multiplied.
  static COPPICE_DEVICE void score_step(const Params& params, const Row& row, std::int32_t first_key,
                                        float (&s)[kPasses]) {
#pragma unroll
    for (std::int32_t i = 0; i < kPasses; ++i) {
      const std::int32_t key = kKeysAtOnce * i + lane_index() / kKeyLanes;
      const bool present = sees(row, first_key + key);
      std::int64_t place = 0;
      if (present) {
        place = params.layout.token(0, step_slots()[key], row.key_head, KvLayout::kPlaneKey);
      }
      float sum = 0.0F;
#pragma unroll
      for (std::int32_t k = 0; k < kDepth; ++k) {
        const std::int32_t column = (k * kKeyLanes + lane_index() % kKeyLanes) * 4;
        if (present && column < params.layout.head_dim) {
          const Four numbers = load_as<Four>(params.cache + place + column);
#pragma unroll
          for (std::int32_t j = 0; j < 4; ++j) {
            sum = fmaf(row.query[k].at[j], numbers.at[j], sum);
          }
        }
      }
#pragma unroll
      for (std::int32_t mask = 1; mask < kKeyLanes; mask *= 2) {
        sum += shuffle_xor(sum, mask);
      }
      s[i] = present ? sum : kNoScore;
    }
  }

  // Scores become weights, in shared memory; the state is brought to the row's new reference.
  static COPPICE_DEVICE void softmax_step(const Params& params, const float (&s)[kPasses], State& state) {
    float most = s[0];
#pragma unroll
    for (std::int32_t i = 1; i < kPasses; ++i) {
      most = fmaxf(most, s[i]);
    }
#pragma unroll
    for (std::int32_t mask = kKeyLanes; mask < kWarpLanes; mask *= 2) {
      most = fmaxf(most, shuffle_xor(most, mask));
    }
    most = multiply(most, params.scale);
    if (most > state.m) {
      const float kept = exp2_approximate(state.m - most);
      state.m = most;
      state.l = multiply(state.l, kept);
#pragma unroll
      for (std::int32_t c = 0; c < kColumns; ++c) {
#pragma unroll
        for (std::int32_t j = 0; j < 4; ++j) {
          state.o[c].at[j] = multiply(state.o[c].at[j], kept);
        }
      }
    }
    const float reference = state.m == kNoScore ? 0.0F : state.m;
#pragma unroll
    for (std::int32_t i = 0; i < kPasses; ++i) {
      const float weight = exp2_approximate(fmaf(s[i], params.scale, -reference));
      state.l += weight;
      if (lane_index() % kKeyLanes == 0) {
        step_weights()[kKeysAtOnce * i + lane_index() / kKeyLanes] = weight;
      }
    }
  }

  // o += weights * values, key by key.
  static COPPICE_DEVICE void mix_step(const Params& params, const Row& row, std::int32_t first_key, State& state) {
    constexpr std::int32_t kAhead = 4;  // values that are read together
    for (std::int32_t first = 0; first < kStepKeys; first += kAhead) {
      Four values[kAhead][kColumns];
#pragma unroll
      for (std::int32_t i = 0; i < kAhead; ++i) {
        const bool present = sees(row, first_key + first + i);
        std::int64_t place = 0;
        if (present) {
          place = params.layout.token(0, step_slots()[first + i], row.key_head, KvLayout::kPlaneValue);
        }
#pragma unroll
        for (std::int32_t c = 0; c < kColumns; ++c) {
          const std::int32_t column = (c * kWarpLanes + lane_index()) * 4;
          values[i][c] = {};
          if (present && column < params.layout.head_dim) {
            values[i][c] = load_as<Four>(params.cache + place + column);
          }
        }
      }
#pragma unroll
      for (std::int32_t i = 0; i < kAhead; ++i) {
        const float weight = step_weights()[first + i];
#pragma unroll
        for (std::int32_t c = 0; c < kColumns; ++c) {
#pragma unroll
          for (std::int32_t j = 0; j < 4; ++j) {
            state.o[c].at[j] = fmaf(weight, values[i][c].at[j], state.o[c].at[j]);
          }
        }
      }
    }
  }

  // What the row sees of one split.
  static COPPICE_DEVICE State run_split(const Params& params, const Row& row, std::int32_t split) {
    State state;
    const std::int32_t split_begin = kv_split_position(split);
    const std::int32_t split_end = kv_split_position(split + 1);
    const std::int32_t end = row.end < split_end ? row.end : split_end;
    const std::int32_t lowest = row.lowest / kStepKeys * kStepKeys;
    for (std::int32_t key = lowest > split_begin ? lowest : split_begin; key < end; key += kStepKeys) {
      float s[kPasses];
      sync_warp();  // the step before has been read
      find_slots(params, row, key);
      sync_warp();
      score_step(params, row, key, s);
      softmax_step(params, s, state);
      sync_warp();
      mix_step(params, row, key, state);
    }
#pragma unroll
    for (std::int32_t mask = kKeyLanes; mask < kWarpLanes; mask *= 2) {
      state.l += shuffle_xor(state.l, mask);
    }
    return state;
  }

  // total = merge(total, split).
  static COPPICE_DEVICE void merge_state(State& total, const State& split) {
    const SoftmaxMerge merge = merge_factors(total.m, split.m);
#pragma unroll
    for (std::int32_t c = 0; c < kColumns; ++c) {
#pragma unroll
      for (std::int32_t j = 0; j < 4; ++j) {
        total.o[c].at[j] = merge_number(total.o[c].at[j], split.o[c].at[j], merge);
      }
    }
    total.l = merge_number(total.l, split.l, merge);
    total.m = merge.m;
  }
};

}  // namespace coppice::kernels::cuda
