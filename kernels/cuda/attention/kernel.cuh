// The attention kernel for bf16 and f16: one block computes one unit on tensor cores.
#pragma once

#include <device/primitives.cuh>

#include "kernels/cuda/attention/attention.h"
#include "kernels/cuda/attention/loop.cuh"
#include "kernels/cuda/attention/unit.cuh"

namespace coppice::kernels::cuda {

template <typename Element, std::int32_t dim, bool whole>
struct AttentionKernel {
  using Number = Element;
  using Shape = AttentionShape<Element, dim, whole>;
  using Params = AttentionParams<Element>;
  using Unit = AttentionUnit<Shape>;
  static constexpr std::int32_t kWarps = Shape::kWarps;             // of a block
  static constexpr std::int32_t kThreadsMax = kWarps * kWarpLanes;  // of a block
  // Limited by registers and shared memory; compiled for, not measured.
  static constexpr std::int32_t kBlocksPerMultiprocessor = dim <= 128 ? 2 : 1;
  static constexpr std::int32_t kStagesMax = attention_stages_max(dim);  // of the ring that keys are copied through
  static constexpr std::int32_t kStagesMin = attention_stages_min(dim);

  // Shared memory: control, then totals and queries that do not fit in registers, then the stages.
  static constexpr std::int32_t kQueryBegin = kControlBytes + Shape::kTotalBytes;
  static constexpr std::int32_t kStagesBegin = kQueryBegin + Shape::kQueryBytes;
  static constexpr std::int32_t shared_bytes(std::int32_t stages) { return kStagesBegin + stages * Shape::kStageBytes; }
  static constexpr std::int32_t kSharedBytesMax = kStagesBegin + kStagesMax * Shape::kStageBytes;  // of a block

  // Returns storage for the results of one warp's rows over all splits so far. Columns: Shape or a share of it.
  template <typename Columns>
  static COPPICE_DEVICE auto make_total() {
    if constexpr (Shape::kFitsRegisters) {
      return RegisterFragment<Columns>{};
    } else {
      return SharedFragment<Shape>{shared_array<float>(kControlBytes + warp_index() * Shape::kFragmentBytes)};
    }
  }
  static COPPICE_DEVICE auto make_query() {
    if constexpr (Shape::kFitsRegisters) {
      return RegisterQuery<Shape>{};
    } else {
      return SharedQuery<Shape>{shared_array<Element>(kQueryBegin) + warp_index() * Shape::kTileElements};
    }
  }
  static COPPICE_DEVICE Shared<Element> stage_memory(std::int32_t stage) {
    return shared_array<Element>(kStagesBegin) + stage * Shape::kStageElements;
  }

  // --- a unit ---

  // This warp's steps of the stage.
  template <typename Query>
  static COPPICE_DEVICE void compute_stage(const Params& params, const Unit& unit, const StageCursor& cursor,
                                           Shared<const Element> stage, const Query& query, RowSums& sums,
                                           RegisterFragment<Shape>& o) {
    const SplitSteps steps = split_steps(unit.range, cursor.split + unit.deal.split());
    for (std::int32_t i = 0; i < unit.deal.steps(); ++i) {
      const std::int32_t step = cursor.stage * unit.deal.steps() + i;
      if (step >= steps.count) {
        return;
      }
      const std::int32_t first_key = steps.first_key + step * kStepKeys;
      const auto keys = stage + (unit.deal.split() * unit.deal.steps() + i) * Shape::kTileElements;
      float s[2][4] = {};
      score_step<Shape>(query, keys, s);
      mask_step(first_key, unit.limits, s);
      softmax_step<Shape>(params.scale, s, sums, o);
      mix_step<Shape>(s, keys + Shape::kWarps * Shape::kTileElements, o);
    }
  }

  // All warps' steps of the stage, which are of one split: each warp scores its own step, then sums its own columns of
  // all. The bits are those of compute_stage(), whose warp does the same one step after the other. All threads call it.
  template <typename Query>
  static COPPICE_DEVICE void compute_stage_together(const Params& params, const Unit& unit, const StageCursor& cursor,
                                                    Shared<Element> stage, const Query& query, RowSums& sums,
                                                    RegisterFragment<ColumnShare<Shape>>& o) {
    const SplitSteps steps = split_steps(unit.range, cursor.split);
    const std::int32_t first_step = cursor.stage * kWarps;
    const auto scores = [&](std::int32_t warp) {  // in place of the keys, which that warp alone reads
      return pointer_as<float>(stage + warp * Shape::kTileElements);
    };
    float s[2][4] = {};
    if (first_step + warp_index() < steps.count) {
      score_step<Shape>(query, stage + warp_index() * Shape::kTileElements, s);
      mask_step(steps.first_key + (first_step + warp_index()) * kStepKeys, unit.limits, s);
      sync_warp();  // all lanes have read the keys
      store_scores(scores(warp_index()), s);
    }
    sync_block();
    const auto values = stage + kWarps * Shape::kTileElements + unit.deal.share() * ColumnShare<Shape>::kColumns;
    for (std::int32_t i = 0; i < kWarps && first_step + i < steps.count; ++i) {
      load_scores(scores(i), s);
      softmax_step<ColumnShare<Shape>>(params.scale, s, sums, o);
      mix_step<ColumnShare<Shape>>(s, values + i * Shape::kTileElements, o);
    }
  }

  // Ends a round of an item that folds: merges the splits' results into the total in ascending order. All threads call
  // it. `free`: a stage that no copy writes to.
  template <typename Total>
  static COPPICE_DEVICE void fold_round(const Unit& unit, Shared<Element> free, RowSums& sums,
                                        RegisterFragment<Shape>& o, RowSums& total_sums, Total& total) {
    if (unit.holds_total()) {
      merge_rows<Shape>(total_sums, total, sums, o);
    }
    if (unit.deal.splits() == 1) {
      return;
    }
    const auto exchange = [&](std::int32_t warp) {  // of a warp that is not a holder
      const std::int32_t index = warp - (warp >> unit.deal.splits_log2) - 1;
      return pointer_as<float>(free) + index * (Shape::kExchangeBytes / 4);
    };
    sync_block();  // all have read the stage
    if (unit.deal.split() > 0 && unit.computes()) {
      const SharedFragment<Shape> mine{exchange(warp_index())};
      for (std::int32_t n = 0; n < Shape::kColumnTiles; ++n) {
        mine.set(n, o.get(n));
      }
      mine.set(Shape::kColumnTiles, {{sums.m[0], sums.m[1], sums.l[0], sums.l[1]}});
    }
    sync_block();
    if (unit.holds_total()) {
      for (std::int32_t split = 1; split < unit.deal.splits(); ++split) {
        const SharedFragment<Shape> theirs{exchange(warp_index() + split)};
        const Vector<float, 4> both = theirs.get(Shape::kColumnTiles);
        merge_rows<Shape>(total_sums, total, {{both.at[0], both.at[1]}, {both.at[2], both.at[3]}}, theirs);
      }
    }
  }

  static COPPICE_DEVICE void run_unit(const Params& params, const DevicePlanHeader& header, std::int32_t work) {
    const Unit unit(params, header, work);
    if constexpr (Shape::kSharesMax > 1) {
      if (unit.is_shared()) {
        run_columns<ColumnShare<Shape>>(params, unit);
        return;
      }
    }
    run_columns<Shape>(params, unit);
  }

  // Columns: what each warp sums, Shape or a share of it.
  template <typename Columns>
  static COPPICE_DEVICE void run_columns(const Params& params, const Unit& unit) {
    constexpr bool kTogether = Columns::kShares > 1;  // all warps on one split
    KeyStream<Shape> stream(params, unit.range, unit.deal, unit.key_head);
    for (std::int32_t i = 0; i + 1 < params.stages; ++i) {
      stream.copy(params, stage_memory(i));
    }

    auto query = make_query();
    unit.load_query(params, query);
    sync_warp();
    RowSums total_sums;
    auto total = make_total<Columns>();
    total.clear();
    if (unit_item().after >= 0) {
      wait_for(
          params.progress + kProgressItems + std::int64_t{unit_item().after} * params.layout.key_heads + unit.key_head,
          static_cast<std::uint32_t>(unit_item().after_blocks));
      if (unit.holds_total()) {
        unit.load_state(params, total_sums, total);
      }
    }

    RowSums sums;
    RegisterFragment<Columns> o;
    o.clear();
    StageCursor cursor;
    cursor.begin_round(unit.range, unit.deal, unit.range.split_begin);
    for (std::int32_t stage = 0; !cursor.done(unit.range); stage = stage + 1 == params.stages ? 0 : stage + 1) {
      const bool ahead = kStagesMin > 1 || params.stages > 1;
      if (!ahead) {
        sync_block();  // everyone is done with the only stage
        stream.copy(params, stage_memory(0));
      }
      wait_for_stage(params.stages);
      sync_block();  // everyone's copies are there, and everyone is done with the stage before
      if (ahead) {
        stream.copy(params, stage_memory(stage == 0 ? params.stages - 1 : stage - 1));
      }
      if constexpr (kTogether) {
        compute_stage_together(params, unit, cursor, stage_memory(stage), query, sums, o);
      } else if (unit.computes()) {
        compute_stage(params, unit, cursor, stage_memory(stage), query, sums, o);
      }
      if (cursor.last_of_round()) {
        reduce_sums(sums);
        if (unit_item().folds != 0) {
          if constexpr (kTogether) {
            merge_rows<Columns>(total_sums, total, sums, o);
          } else {
            fold_round(unit, stage_memory(stage), sums, o, total_sums, total);
          }
        } else if (unit.computes() && cursor.split + unit.deal.split() < unit.range.split_end) {
          const std::int32_t split = cursor.split + unit.deal.split() - unit.range.split_begin;
          unit.store_state(params, unit_item().partial_begin + split * unit_item().row_count, sums, o);
        }
        sums = RowSums{};
        o.clear();
      }
      cursor.advance(unit.range, unit.deal);
    }
    copy_async_wait<0>();
    if (unit_item().folds != 0 && unit.holds_total()) {
      if (unit_item().writes_output != 0) {
        unit.store_output(params, total_sums, total);
      } else {
        unit.store_state(params, unit_item().partial_begin, total_sums, total);
      }
    }
  }

  // The oldest stage has arrived when at most stages - 2 younger ones are under way.
  static COPPICE_DEVICE void wait_for_stage(std::int32_t stages) {
    if (stages <= 2) {
      copy_async_wait<0>();
    } else if (stages == 3) {
      copy_async_wait<1>();
    } else {
      copy_async_wait<2>();
    }
  }

  static COPPICE_DEVICE void run(const Params& params) { AttentionLoop<AttentionKernel>::run(params); }
};

}  // namespace coppice::kernels::cuda
