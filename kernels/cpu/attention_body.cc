// Attention of one item for one key head. For each split of keys and each tile of a few matrix rows: scores, the
// softmax of the split, the weighted sum of values, and its merge into the rows' results. A row's result does not
// depend on the other rows of its tile nor on keys that it does not see: a row's sums run in the same order in every
// tile, and an unseen key has weight exactly 0 (values are finite, kv_cache.h).
#include "kernels/cpu/attention_body.h"

#include "kernels/cpu/attention_tile.h"
#include "kernels/key_positions.h"
#include "kernels/online_softmax.h"

namespace coppice::kernels::cpu::COPPICE_ISA {
namespace {

// --- the softmax of a tile's rows over one split, and how it enters the rows' results ---

// m is in the scores' unit, log2 e times theirs: weights are 2^(score - m).
struct SplitSums {
  float m;
  float l;
};

// Sets scores outside [limit_begin, limit_end) of the split to -infinity.
COPPICE_INLINE void mask_scores(const Tile& tile, std::int32_t limit_begin, std::int32_t limit_end, float* scores) {
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    const std::int32_t key = block * kBlockKeys;
    if (limit_begin > key || limit_end < key + kBlockKeys) {
      const std::int32_t begin = limit_begin - key;
      const std::int32_t end = limit_end - key;
      float* place = scores + block * kLanes;
      store(place, keep_lanes(load(place), begin < 0 ? 0 : begin > 16 ? 16 : begin, end < 0 ? 0 : end > 16 ? 16 : end));
    }
  }
}

// Turns scores into weights. Keys outside [limit_begin, limit_end) of the split get weight 0. unit: factor of the
// scores, scale * log2 e. REQUIRES: unit >= 0.
template <typename Element>
SplitSums softmax_split(const AttentionCall& call, const Tile& tile, const Blocks& blocks, float unit,
                        std::int32_t limit_begin, std::int32_t limit_end, float* scores, std::uint32_t* weights) {
  if (limit_begin > tile.block_begin * kBlockKeys || limit_end < tile.block_end * kBlockKeys) {
    mask_scores(tile, limit_begin, limit_end, scores);
  }
  F32x16 highest = broadcast(-__builtin_inff());
  for (std::int32_t block = tile.block_begin; block < tile.block_end; ++block) {
    highest = maximum(highest, load(scores + block * kLanes));
  }
  const float m = largest(highest) * unit;
  const F32x16 shift = broadcast(m == -__builtin_inff() ? 0.0F : -m);
  const F32x16 units = broadcast(unit);
  const std::int32_t value_scales = call.layout.value_block_words - call.layout.scale_words;
  F32x16 sums = zero();
  for (std::int32_t block = tile.block_begin; block < tile.block_end; block += 2) {
    const bool is_pair = block + 1 < tile.block_end;
    const F32x16 first = power_of_two(multiply_add(load(scores + block * kLanes), units, shift));
    const F32x16 second =
        is_pair ? power_of_two(multiply_add(load(scores + (block + 1) * kLanes), units, shift)) : zero();
    const decltype(Element::scales(nullptr)) scales[] = {
        Element::scales(blocks.values[block] + value_scales),
        Element::scales(blocks.values[is_pair ? block + 1 : block] + value_scales)};
    sums = Element::pack(sums, first, second, scales,
                         weights + block * (kBlockKeys / Element::kPerWord * Element::kParts));
  }
  return {m, sum(sums)};
}

// Computes the softmax of the tile's rows and how their sums enter the rows' results.
template <typename Element>
void softmax_rows(const AttentionCall& call, Resident& resident, Tile& tile, const Blocks& blocks, float* scores,
                  std::uint32_t* weights) {
  constexpr float kLog2E = 1.44269504088896341F;  // log2(e): scores are kept for exponentials of base 2
  const float unit = call.scale * kLog2E;
  for (std::int32_t i = 0; i < tile.count; ++i) {
    const std::int32_t row = tile.row + i;
    const std::int32_t position = resident.position[row];
    const std::int32_t end = visible_end(position) < tile.split_end ? visible_end(position) : tile.split_end;
    const std::int32_t lowest = visible_begin(position, call.window);
    const std::int32_t begin = lowest > tile.split_begin ? lowest : tile.split_begin;
    const SplitSums split =
        softmax_split<Element>(call, tile, blocks, unit, begin - tile.split_begin, end - tile.split_begin,
                               scores + i * kSplitKeysMax, weights + i * kSplitKeysMax);
    if (split.m == -__builtin_inff()) {
      tile.mode[i] = Mode::kSkip;
    } else if (resident.m[row] == -__builtin_inff()) {
      tile.mode[i] = Mode::kReplace;
      resident.m[row] = split.m;
      resident.l[row] = split.l;
    } else {
      const SoftmaxMerge merge =
          softmax_merge(resident.m[row], split.m, [](float x) { return scalar_power_of_two(x); });
      tile.mode[i] = Mode::kBlend;
      tile.kept[i] = merge.kept;
      tile.added[i] = merge.added;
      resident.m[row] = merge.m;
      resident.l[row] = __builtin_fmaf(resident.l[row], merge.kept, split.l * merge.added);
    }
  }
}

// --- one split for all resident rows ---

template <typename Element, int kRows>
void run_tile(const AttentionCall& call, const AttentionTask& task, Resident& resident, Tile& tile,
              const Blocks& blocks) {
  score_rows<Element, kRows>(call, resident, tile, blocks, task.scores);
  softmax_rows<Element>(call, resident, tile, blocks, task.scores, task.weights);
  mix_rows<Element, kRows>(call, resident, tile, blocks, task.weights);
}

// Sets the blocks of the split that some row of the tile sees. The first is even, because weights are packed two blocks
// at a time.
COPPICE_INLINE void limit_blocks(const AttentionCall& call, const Resident& resident, Tile& tile) {
  std::int32_t first = resident.position[tile.row];
  std::int32_t last = first;
  for (std::int32_t i = 1; i < tile.count; ++i) {
    const std::int32_t position = resident.position[tile.row + i];
    first = position < first ? position : first;
    last = position > last ? position : last;
  }
  const std::int32_t end = visible_end(last) < tile.split_end ? visible_end(last) : tile.split_end;
  const std::int32_t lowest = visible_begin(first, call.window);
  const std::int32_t begin = lowest > tile.split_begin ? lowest : tile.split_begin;
  tile.block_end = end > tile.split_begin ? (end - tile.split_begin + kBlockKeys - 1) / kBlockKeys : 0;
  tile.block_begin = (begin - tile.split_begin) / (2 * kBlockKeys) * 2;
}

template <typename Element>
void run_split(const AttentionCall& call, const AttentionTask& task, Resident& resident, std::int32_t split_begin,
               std::int32_t split_end, const Blocks& blocks) {
  const std::int32_t tiles = (resident.count + kTileRows - 1) / kTileRows;
  std::int32_t row = 0;
  for (std::int32_t i = 0; i < tiles; ++i) {
    Tile tile;
    tile.row = row;
    tile.count = (resident.count - row + tiles - i - 1) / (tiles - i);
    tile.split_begin = split_begin;
    tile.split_end = split_end;
    row += tile.count;
    limit_blocks(call, resident, tile);
    if (tile.block_begin >= tile.block_end) {
      continue;
    }
    switch (tile.count) {
      case 1:
        run_tile<Element, 1>(call, task, resident, tile, blocks);
        break;
      case 2:
        run_tile<Element, 2>(call, task, resident, tile, blocks);
        break;
#if defined(__AVX2__)
      case 3:
        run_tile<Element, 3>(call, task, resident, tile, blocks);
        break;
      case 4:
        run_tile<Element, 4>(call, task, resident, tile, blocks);
        break;
      case 5:
        run_tile<Element, 5>(call, task, resident, tile, blocks);
        break;
      case 6:
        run_tile<Element, 6>(call, task, resident, tile, blocks);
        break;
#endif
      default:
        break;
    }
  }
}

// --- where the keys are ---

// Copies keys and values of a drafted path, which are in single slots, to a block of their own.
template <typename Element>
void gather_block(const KvLayout& layout, const AttentionTask& task, const std::int32_t* slots, std::int32_t count,
                  std::uint32_t* keys, std::uint32_t* values) {
  std::memset(keys, 0, static_cast<std::size_t>(layout.key_block_words) * sizeof *keys);
  std::memset(values, 0, static_cast<std::size_t>(layout.value_block_words) * sizeof *values);
  constexpr std::int64_t kPer = Element::kPerWord;    // numbers of a word
  constexpr std::int64_t kBytes = kWordBytes / kPer;  // of a number
  for (std::int32_t i = 0; i < count; ++i) {
    const SlotPlace place = layout.place(slots[i]);
    for (std::int32_t step = 0; step < layout.steps; ++step) {
      keys[step * kBlockKeys + i] = task.words[place.key + step * kBlockKeys];
    }
    const auto* source = reinterpret_cast<const std::uint8_t*>(task.words + place.value) + place.value_byte;
    auto* target = reinterpret_cast<std::uint8_t*>(values + i / kPer * layout.dim_lanes);
    for (std::int64_t dim = 0; dim < layout.dim_lanes; ++dim) {
      std::memcpy(target + dim * kWordBytes + (i % kPer) * kBytes, source + dim * kWordBytes, kBytes);
    }
    if (layout.scale_words > 0) {
      keys[layout.key_block_words - layout.scale_words + i] = task.words[place.key_scale];
      values[layout.value_block_words - layout.scale_words + i] = task.words[place.value_scale];
    }
  }
}

template <typename Element>
void find_path_blocks(const AttentionCall& call, const AttentionTask& task, std::int32_t first_key,
                      std::int32_t end_key, Blocks& blocks) {
  const KvLayout& layout = call.layout;
  for (std::int32_t key = first_key; key < end_key; key += kBlockKeys) {
    const std::int32_t block = (key - first_key) / kBlockKeys;
    const std::int32_t* slots = task.slots + (key - task.bounds[0]);
    const std::int32_t count = end_key - key < kBlockKeys ? end_key - key : kBlockKeys;
    bool in_place = slots[0] % kBlockKeys == 0;
    for (std::int32_t i = 1; i < count; ++i) {
      in_place = in_place && slots[i] == slots[0] + i;
    }
    if (in_place) {
      const std::uint32_t* page = task.words + slots[0] / layout.page_size * layout.page_words;
      const std::int32_t index = slots[0] % layout.page_size / kBlockKeys;
      blocks.keys[block] = page + index * layout.key_block_words;
      blocks.values[block] = page + layout.page_blocks * layout.key_block_words + index * layout.value_block_words;
    } else {
      std::uint32_t* keys = task.gathered + block * (layout.key_block_words + layout.value_block_words);
      gather_block<Element>(layout, task, slots, count, keys, keys + layout.key_block_words);
      blocks.keys[block] = keys;
      blocks.values[block] = keys + layout.key_block_words;
    }
  }
}

COPPICE_INLINE void find_page_blocks(const AttentionCall& call, const AttentionTask& task, std::int32_t first_key,
                                     std::int32_t end_key, Blocks& blocks) {
  const KvLayout& layout = call.layout;
  const std::int32_t count = (end_key - first_key + kBlockKeys - 1) / kBlockKeys;
  const std::int32_t* pages = task.pages + (first_key - task.bounds[0]) / layout.page_size;
  for (std::int32_t block = 0; block < count; ++block) {
    const std::uint32_t* page = task.words + pages[block / layout.page_blocks] * layout.page_words;
    const std::int32_t index = block % layout.page_blocks;
    blocks.keys[block] = page + index * layout.key_block_words;
    blocks.values[block] = page + layout.page_blocks * layout.key_block_words + index * layout.value_block_words;
  }
}

// Sets the keys to prefetch: those of the next split; of the first split if more rows follow; of the next task;
// otherwise keys that are in the cache already.
COPPICE_INLINE void find_next_keys(const AttentionCall& call, const AttentionTask& task, std::int32_t split,
                                   bool last_rows, Blocks& blocks) {
  const std::int32_t count = (task.bounds[split + 1] - task.bounds[split] + kBlockKeys - 1) / kBlockKeys;
  for (std::int32_t block = 0; block < count; ++block) {
    blocks.next_keys[block] = blocks.keys[block];
  }
  const KvLayout& layout = call.layout;
  const std::uint32_t* words = task.words;
  const std::int32_t* pages = task.pages;
  std::int32_t keys = 0;
  const bool ends = split + 1 == task.splits && last_rows;
  if (!ends && task.slots != nullptr) {
    return;
  }
  if (split + 1 < task.splits) {
    keys = task.bounds[split + 2] - task.bounds[split + 1];
    pages += (task.bounds[split + 1] - task.bounds[0]) / layout.page_size;
  } else if (!ends) {
    keys = task.bounds[1] - task.bounds[0];
  } else {
    words = task.next_words;
    pages = task.next_pages;
    keys = task.next_keys;
  }
  const std::int32_t next = (keys + kBlockKeys - 1) / kBlockKeys;
  for (std::int32_t block = 0; block < (next < count ? next : count); ++block) {
    blocks.next_keys[block] = words + pages[block / layout.page_blocks] * layout.page_words +
                              block % layout.page_blocks * layout.key_block_words;
  }
}

// --- one item ---

void write_output(const AttentionCall& call, std::int32_t row, std::int32_t head, const float* o, float l) {
  const F32x16 inverse = broadcast(1.0F / l);
  std::uint8_t* out = call.out + row * call.out_stride;
  const std::int64_t first = std::int64_t{head} * call.layout.head_dim;
  for (std::int64_t dim = 0; dim < call.layout.head_dim; dim += kLanes) {
    const std::int64_t left = call.layout.head_dim - dim;
    const std::int64_t count = left < kLanes ? left : kLanes;
    // + 0: zeros have one sign, whatever keys of weight 0 were summed.
    store_any(out, call.out_type, first + dim, count, add(multiply(load(o + dim), inverse), zero()));
  }
}

COPPICE_INLINE std::int64_t partial_index(const AttentionCall& call, std::int64_t slot, std::int32_t head) {
  return slot * call.query_heads + head;
}

// A query's numbers as units of a row (attention_elements.h).
template <typename Element>
void write_units(const std::uint8_t* query, ComputeType type, std::int32_t dims, std::uint32_t* units) {
  for (std::int64_t dim = 0; dim < dims; dim += kLanes) {
    Element::store_units(units, dim, load_any(query, type, dim, dims - dim));
  }
}

// Makes matrix rows [begin, begin + count) of the task resident. Their results are kept in scratch or, where a state is
// continued or left, in its partial slot.
template <typename Element>
void admit_rows(const AttentionCall& call, const AttentionTask& task, std::int32_t begin, Resident& resident) {
  resident.first_position = 0x7FFFFFFF;
  resident.last_position = -1;
  for (std::int32_t i = 0; i < resident.count; ++i) {
    const std::int32_t row = (begin + i) / call.group;
    const std::int32_t head = task.key_head * call.group + (begin + i) % call.group;
    const std::int32_t position = call.positions[task.row_begin + row];
    const std::uint8_t* query =
        call.query + (task.row_begin + row) * call.query_stride + std::int64_t{head} * call.query_head_bytes;
    if (Element::has_units(call.query_type)) {
      resident.query[i] = reinterpret_cast<const std::uint32_t*>(query);
    } else {
      std::uint32_t* units = task.resident_query + i * call.layout.dim_lanes;
      write_units<Element>(query, call.query_type, call.layout.head_dim, units);
      resident.query[i] = units;
    }
    resident.position[i] = position;
    resident.first_position = position < resident.first_position ? position : resident.first_position;
    resident.last_position = position > resident.last_position ? position : resident.last_position;
    resident.m[i] = -__builtin_inff();
    resident.l[i] = 0;
    resident.o[i] = task.resident_o + i * call.layout.dim_lanes;
    if (task.folds && task.partial_begin >= 0) {
      const std::int64_t index = partial_index(call, task.partial_begin + row, head);
      resident.o[i] = call.partial_o + index * call.layout.dim_lanes;
      if (task.continues) {
        for (std::int32_t dim = 0; dim < call.layout.dim_lanes; dim += kLanes) {
          __builtin_prefetch(resident.o[i] + dim, 1, 2);  // wanted when the first split's values are mixed
        }
        resident.m[i] = call.partial_ml[2 * index];
        resident.l[i] = call.partial_ml[2 * index + 1];
      }
    }
  }
}

// For an item that does not fold: starts the rows empty, in the slots of this split.
void begin_split(const AttentionCall& call, const AttentionTask& task, std::int32_t begin, std::int32_t split,
                 Resident& resident) {
  for (std::int32_t i = 0; i < resident.count; ++i) {
    const std::int64_t slot = task.partial_begin + std::int64_t{split} * task.row_count + (begin + i) / call.group;
    const std::int64_t index = partial_index(call, slot, task.key_head * call.group + (begin + i) % call.group);
    resident.o[i] = call.partial_o + index * call.layout.dim_lanes;
    resident.m[i] = -__builtin_inff();
    resident.l[i] = 0;
  }
}

// Writes (m, l) to the slots that hold o, or the output.
void finish_rows(const AttentionCall& call, const AttentionTask& task, std::int32_t begin, const Resident& resident) {
  for (std::int32_t i = 0; i < resident.count; ++i) {
    const std::int32_t row = task.row_begin + (begin + i) / call.group;
    const std::int32_t head = task.key_head * call.group + (begin + i) % call.group;
    if (task.folds && task.writes_output) {
      write_output(call, row, head, resident.o[i], resident.l[i]);
    } else {
      const std::int64_t index = (resident.o[i] - call.partial_o) / call.layout.dim_lanes;
      call.partial_ml[2 * index] = resident.m[i];
      call.partial_ml[2 * index + 1] = resident.l[i];
    }
  }
}

template <typename Element>
void run_item(const AttentionCall& call, const AttentionTask& task) {
  Resident resident;
  const std::int32_t rows = task.row_count * call.group;
  for (std::int32_t begin = 0; begin < rows; begin += resident.count) {
    resident.count = rows - begin < kResidentRows ? rows - begin : kResidentRows;
    admit_rows<Element>(call, task, begin, resident);
    for (std::int32_t split = 0; split < task.splits; ++split) {
      const std::int32_t first_key = task.bounds[split];
      const std::int32_t end_key = task.bounds[split + 1];
      if (!task.folds) {
        begin_split(call, task, begin, split, resident);
      }
      const bool seen = first_key < visible_end(resident.last_position) &&
                        end_key > visible_begin(resident.first_position, call.window);
      if (seen) {
        Blocks blocks;
        if (task.slots != nullptr) {
          find_path_blocks<Element>(call, task, first_key, end_key, blocks);
        } else {
          find_page_blocks(call, task, first_key, end_key, blocks);
        }
        find_next_keys(call, task, split, begin + resident.count >= rows, blocks);
        run_split<Element>(call, task, resident, first_key, end_key, blocks);
      }
      if (!task.folds) {
        finish_rows(call, task, begin, resident);
      }
    }
    if (task.folds) {
      finish_rows(call, task, begin, resident);
    }
  }
}

void run(const AttentionCall& call, const AttentionTask& task) {
  switch (call.layout.format.kind) {
    case KvKind::kF32:
      return run_item<F32Words>(call, task);
    case KvKind::kBF16:
      return run_item<Bf16Words>(call, task);
    case KvKind::kInt8:
      return run_item<Int8Words>(call, task);
    case KvKind::kF16:
      return;  // no such cache is made (kv_cache.cc)
  }
}

void merge(const AttentionCall& call, std::int32_t row, const std::int32_t* slots, std::int32_t count,
           std::int32_t head_begin, std::int32_t head_end, float* scratch) {
  const std::int32_t dim_lanes = call.layout.dim_lanes;
  for (std::int32_t head = head_begin; head < head_end; ++head) {
    float m = -__builtin_inff();
    float l = 0;
    for (std::int32_t i = 0; i < count; ++i) {
      const std::int64_t index = partial_index(call, slots[i], head);
      const float* o = call.partial_o + index * dim_lanes;
      const float m_added = call.partial_ml[2 * index];
      const float l_added = call.partial_ml[2 * index + 1];
      if (m_added == -__builtin_inff()) {
        continue;
      }
      if (m == -__builtin_inff()) {
        std::memcpy(scratch, o, static_cast<std::size_t>(dim_lanes) * sizeof *scratch);
        m = m_added;
        l = l_added;
        continue;
      }
      const SoftmaxMerge weights = softmax_merge(m, m_added, [](float x) { return scalar_power_of_two(x); });
      for (std::int64_t dim = 0; dim < dim_lanes; dim += kLanes) {
        store(scratch + dim, multiply_add(load(scratch + dim), broadcast(weights.kept),
                                          multiply(load(o + dim), broadcast(weights.added))));
      }
      m = weights.m;
      l = __builtin_fmaf(l, weights.kept, l_added * weights.added);
    }
    write_output(call, row, head, scratch, l);
  }
}

}  // namespace

const AttentionBody& attention_body() {
  static constexpr AttentionBody kBody = {run, merge};
  return kBody;
}

}  // namespace coppice::kernels::cpu::COPPICE_ISA
