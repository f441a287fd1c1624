// Quantised weights in the order in which products read them (quantised_body.h): GGUF's blocks with their bits and
// scales as they are, whole numbers with scales beside them, and dense weights quantised here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cpu/quantised_body.h"
#include "kernels/host/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Plain numbers; immutable.
struct QuantisedLayout {
  QuantisedKind kind = QuantisedKind::k4Half;
  ScaleKind scales = ScaleKind::kHalf;
  std::int32_t bits = 4;
  std::int32_t zero = 0;    // subtracted from the bits; 0 where there are leasts
  std::int64_t group = 32;  // columns of a weight's scale, at most 256
  std::int64_t chunk = 32;  // columns that are packed together
  std::int64_t unit = 32;   // columns of an exact sum
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;

  std::int64_t columns() const { return (in_features + kQuantisedBlock - 1) / kQuantisedBlock * kQuantisedBlock; }
  std::int64_t panels() const { return (out_features + kQuantisedPanel - 1) / kQuantisedPanel; }
  std::int64_t chunk_bytes(std::int64_t width) const {
    return quantised_scale_bytes(scales) + quantised_number_bytes(bits, width);
  }
  std::int64_t panel_bytes() const {
    const std::int64_t rest = columns() % chunk;
    return columns() / chunk * chunk_bytes(chunk) + (rest == 0 ? 0 : chunk_bytes(rest));
  }
  // Exact sums of a row.
  std::int64_t units() const { return (columns() + unit - 1) / unit; }
};

struct QuantisedPanels {
  QuantisedLayout layout;
  Buffer packed;
};

// Whether weights can be stored in a format: every quantised one but FP8, groups of 32, 64, 128, a multiple of 256
// columns or the whole row.
bool packs_quantised(WeightFormat storage);

// Stacks `parts` by rows and packs them in `storage` with all threads. Parts that are stored so keep their numbers to
// the bit; others are quantised: int8 with the scale that the largest number of a group demands, int4 with the scale
// and the least, float16 numbers, that give the least squared error among some. REQUIRES: packs_quantised(storage); all
// parts have the same columns; storage is int8 or int4, or every part is stored in it. ERRORS: ResourceExhausted;
// InvalidArgument: a number too large for int4.
absl::StatusOr<QuantisedPanels> pack_quantised(const CpuContext& context, std::span<const HostWeight> parts,
                                               WeightFormat storage);

}  // namespace coppice::kernels::cpu
