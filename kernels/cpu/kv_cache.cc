// Making KV caches, and copies within them.
#include "kernels/cpu/kv_cache.h"

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/cpu/memory.h"
#include "kernels/key_positions.h"

namespace coppice::kernels::cpu {
namespace {

constexpr std::int32_t kVectorLanes = 16;  // f32 in the widest vector (AVX-512)
constexpr std::int32_t kHeadDimMax = 256;  // sizes the scratch of rope and attention; the largest head of known models

CpuKvCache& as_cpu(KvCache& cache) {
  return static_cast<CpuKvCache&>(cache);
}

// Copies one key's words in its K block and its numbers in its V block, with their scales.
void move_key(const KvLayout& layout, std::uint32_t* head, KvSlot from, KvSlot to) {
  const SlotPlace source = layout.place(from);
  const SlotPlace target = layout.place(to);
  for (std::int32_t step = 0; step < layout.steps; ++step) {
    head[target.key + step * kBlockKeys] = head[source.key + step * kBlockKeys];
  }
  const std::size_t bytes = layout.format.element_bytes();
  auto* to_value = reinterpret_cast<std::uint8_t*>(head + target.value) + target.value_byte;
  const auto* from_value = reinterpret_cast<const std::uint8_t*>(head + source.value) + source.value_byte;
  for (std::int32_t dim = 0; dim < layout.head_dim; ++dim) {
    std::memcpy(to_value + dim * kWordBytes, from_value + dim * kWordBytes, bytes);
  }
  if (layout.scale_words > 0) {
    head[target.key_scale] = head[source.key_scale];
    head[target.value_scale] = head[source.value_scale];
  }
}

}  // namespace

bool keeps(KvFormat format) {
  switch (format.kind) {
    case KvKind::kF32:
    case KvKind::kBF16:
    case KvKind::kInt8:
      return true;
    case KvKind::kF16:
      return false;
  }
  return false;
}

bool attends(ComputeType query, KvFormat kv) {
  switch (query) {
    case ComputeType::kF32:
    case ComputeType::kBF16:
      return keeps(kv);
    case ComputeType::kF16:
      return false;
  }
  return false;
}

KvLayout kv_layout_of(const KvGeometry& geometry) {
  KvLayout layout;
  layout.format = geometry.format;
  layout.per_word = kWordBytes / static_cast<std::int32_t>(geometry.format.element_bytes());
  layout.head_dim = geometry.head_dim;
  layout.dim_lanes = (geometry.head_dim + kVectorLanes - 1) / kVectorLanes * kVectorLanes;
  layout.steps = geometry.head_dim / layout.per_word;
  layout.page_size = geometry.page_size;
  layout.page_blocks = geometry.page_size / kBlockKeys;
  layout.scale_words = geometry.format.scale_bytes() > 0 ? kBlockKeys : 0;
  layout.key_block_words = layout.steps * kBlockKeys + layout.scale_words;
  layout.value_block_words = kBlockKeys / layout.per_word * layout.dim_lanes + layout.scale_words;
  layout.page_words = std::int64_t{layout.page_blocks} * (layout.key_block_words + layout.value_block_words);
  layout.head_words = layout.page_words * geometry.pages;
  layout.layer_words = layout.head_words * geometry.key_heads;
  return layout;
}

CpuKvCache::CpuKvCache(const KvGeometry& geometry, int workers, Buffer memory)
    : KvCache(geometry, workers), layout_(kv_layout_of(geometry)), memory_(std::move(memory)) {}

absl::StatusOr<std::unique_ptr<KvCache>> make_cpu_kv_cache(const KvGeometry& geometry, int workers) {
  if (geometry.head_dim < 8 || geometry.head_dim > kHeadDimMax || geometry.head_dim % 8 != 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: head_dim {} is not a multiple of 8 from 8 to {}", geometry.head_dim, kHeadDimMax));
  }
  if (geometry.page_size < kBlockKeys || kSmallSplit % geometry.page_size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: page_size {} is not one of 16, 32, 64, 128", geometry.page_size));
  }
  if (!keeps(geometry.format)) {
    return absl::InvalidArgumentError(
        fmt::format("KV cache: {} is not kept on the CPU; use bf16, f32 or int8", format_name(geometry.format)));
  }
  const KvLayout layout = kv_layout_of(geometry);
  const auto words = static_cast<std::size_t>(layout.layer_words) * static_cast<std::size_t>(geometry.layers);
  COPPICE_ASSIGN_OR_RETURN(Buffer memory, allocate_zeroed(words * sizeof(std::uint32_t)));
  return std::make_unique<CpuKvCache>(geometry, workers, std::move(memory));
}

void copy_page(KvCache& cache, PageId from, PageId to) {
  CpuKvCache& target = as_cpu(cache);
  const std::int64_t page_words = target.layout().page_words;
  for (std::int32_t layer = 0; layer < cache.geometry().layers; ++layer) {
    for (std::int32_t head = 0; head < cache.geometry().key_heads; ++head) {
      std::uint32_t* pages = target.head(layer, head);
      std::memcpy(pages + to * page_words, pages + from * page_words,
                  static_cast<std::size_t>(page_words) * sizeof(std::uint32_t));
    }
  }
}

void move_slots(KvCache& cache, std::span<const SlotMove> moves) {
  CpuKvCache& target = as_cpu(cache);
  for (std::int32_t layer = 0; layer < cache.geometry().layers; ++layer) {
    for (std::int32_t head = 0; head < cache.geometry().key_heads; ++head) {
      for (const SlotMove& move : moves) {
        move_key(target.layout(), target.head(layer, head), move.from, move.to);
      }
    }
  }
}

}  // namespace coppice::kernels::cpu
