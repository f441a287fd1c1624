// Rows are taken apart chunk by chunk; each number and each scale goes to its place in the tile.
#include "kernels/cuda/linear/quantised_pack.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "kernels/host/parallel.h"
#include "kernels/host/quantised_row.h"

namespace coppice::kernels::cuda {

namespace {

constexpr std::int32_t kGroupMost = 64;      // columns: a tile's
constexpr std::int32_t kBlock = 32;          // columns: groups are multiples of it, but Q6_K's
constexpr std::int32_t kEightBitZero = 128;  // of a form of 8 bits: the middle of 256

std::int32_t bits_of(WeightKind kind) {
  switch (kind) {
    case WeightKind::kInt4:
    case WeightKind::kQ4_0:
    case WeightKind::kQ4_1:
    case WeightKind::kQ4_K:
      return 4;
    case WeightKind::kInt8:
    case WeightKind::kFp8:
    case WeightKind::kQ5_0:
    case WeightKind::kQ5_1:
    case WeightKind::kQ8_0:
    case WeightKind::kQ5_K:
    case WeightKind::kQ6_K:
    case WeightKind::kF32:
    case WeightKind::kBF16:
    case WeightKind::kF16:
      break;
  }
  return 8;
}

std::int32_t group_of(WeightFormat storage) {
  if (has_scales_beside(storage.kind)) {
    return storage.group % kGroupMost == 0 ? kGroupMost : kBlock;  // 0, the whole row, too
  }
  return storage.kind == WeightKind::kQ6_K ? 16 : kBlock;
}

// Columns that a reader takes apart at once.
std::int64_t chunk_of(WeightFormat storage) {
  if (has_scales_beside(storage.kind)) {
    return storage.group == 0 ? kPartColumns : std::min<std::int64_t>(storage.group, kPartColumns);
  }
  return storage.block().columns;
}

// The tiles of 64 rows, one after the other along K.
struct Band {
  QuantisedForm form;
  std::byte* tiles;

  std::byte* tile(std::int64_t k) const { return tiles + k / kLinearBlockK * form.tile_bytes(); }

  void put_number(std::int32_t row, std::int64_t k, std::uint32_t bits) const {
    const QuantisedPlace place = quantised_place(form, row, static_cast<std::int32_t>(k % kLinearBlockK));
    std::byte* const at = tile(k) + place.word * std::int64_t{sizeof(std::uint32_t)};
    std::uint32_t word;
    std::memcpy(&word, at, sizeof word);
    word |= bits << place.shift;
    std::memcpy(at, &word, sizeof word);
  }

  void put_scale(std::int32_t row, std::int64_t k, NumberScale scale) const {
    const std::int32_t place = quantised_scale_place(form, row, static_cast<std::int32_t>(k % kLinearBlockK));
    std::byte* const at = tile(k) + form.number_bytes() + place * std::int64_t{sizeof(float)};
    std::memcpy(at, &scale.scale, sizeof(float));
    if (form.has_least) {
      std::memcpy(at + form.scales() * sizeof(float), &scale.least, sizeof(float));
    }
  }
};

// Row `row` of the band, stored in `storage`.
void write_row(QuantisedRowReader& reader, WeightFormat storage, const HostWeight& source, std::int32_t row,
               const Band& band) {
  reader.begin(source);
  const std::int32_t zero = band.form.zero - zero_of(storage.kind);  // what the form's bits have more
  const std::int64_t width = chunk_of(storage);
  for (std::int64_t begin = 0; begin < source.columns; begin += width) {
    const std::int64_t count = std::min(width, source.columns - begin);
    const QuantisedChunk chunk = reader.chunk(begin, count);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      if ((begin + i) % band.form.group == 0) {
        band.put_scale(row, begin + i,
                       has_scales_beside(storage.kind) ? NumberScale{chunk.scale, chunk.least}
                                                       : scale_of(chunk.parts, storage.kind, at));
      }
      band.put_number(row, begin + i, static_cast<std::uint32_t>(chunk.parts.bits[at] + zero));
    }
  }
}

}  // namespace

bool packs_few_bits(WeightFormat storage) {
  const std::int64_t group = storage.group;
  return is_quantised(storage) && (!has_scales_beside(storage.kind) || group == 0 ||
                                   (group % kBlock == 0 && (kPartColumns % group == 0 || group % kPartColumns == 0)));
}

std::optional<QuantisedForm> form_of(std::span<const HostWeight> parts, const PackingOptions& options) {
  const WeightKind first = options.storage_of(parts.front().format).kind;
  QuantisedForm form{.bits = 4, .is_fp8 = first == WeightKind::kFp8, .zero = zero_of(first), .group = kGroupMost};
  for (const HostWeight& part : parts) {
    const WeightFormat storage = options.storage_of(part.format);
    const bool is_fp8 = storage.kind == WeightKind::kFp8;
    if (options.compute == ComputeType::kF32 || !packs_few_bits(storage) || is_fp8 != form.is_fp8) {
      return std::nullopt;
    }
    form.group = std::min(form.group, group_of(storage));
    // A format of whole numbers has the one or the other.
    form.has_least = form.has_least || (!is_fp8 && zero_of(storage.kind) == 0);
    if (bits_of(storage.kind) == 8 || zero_of(storage.kind) != form.zero) {
      form.bits = 8;
    }
  }
  if (form.bits == 4) {
    form.group = std::max(form.group, kBlock);
  } else if (!form.is_fp8) {
    form.zero = kEightBitZero;
  }
  return form;
}

absl::Status write_quantised_tiles(std::span<const HostWeight> parts, const PackingOptions& options, QuantisedForm form,
                                   std::int64_t row_begin, std::int64_t padded_k, int threads,
                                   std::span<std::byte> out) {
  const std::int64_t band_bytes = padded_k / kLinearBlockK * form.tile_bytes();
  const std::int64_t bands = static_cast<std::int64_t>(out.size()) / band_bytes;
  std::ranges::fill(out, std::byte{0});
  std::atomic<bool> is_beyond_half = false;
  parallel_for(threads, bands, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t index = first; index < last; ++index) {
      const Band band{form, out.data() + index * band_bytes};
      const std::int64_t begin = row_begin + index * kLinearTileRows;
      std::int64_t part_begin = 0;
      for (const HostWeight& part : parts) {
        const WeightFormat storage = options.storage_of(part.format);
        QuantisedRowReader reader(storage, cpu::best_isa());
        const std::int64_t from = std::max(begin, part_begin);
        const std::int64_t end = std::min(begin + kLinearTileRows, part_begin + part.rows);
        for (std::int64_t row = from; row < end; ++row) {
          write_row(reader, storage, part.rows_from(row - part_begin, 1), static_cast<std::int32_t>(row - begin), band);
        }
        if (reader.is_beyond_half()) {
          is_beyond_half = true;
        }
        part_begin += part.rows;
      }
    }
  });
  if (is_beyond_half) {
    return absl::InvalidArgumentError("a weight is beyond 60,000, too large for 4 bits; use --quant int8");
  }
  return absl::OkStatus();
}

}  // namespace coppice::kernels::cuda
