// Weights in few bits on their way to a GPU: the form that holds all parts of a stacked weight, and the writing of its
// tiles (quantised.h) in host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/cuda/linear/quantised.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cuda {

// Returns whether weights can be stored so on a GPU: every quantised format, groups of multiples of 32 columns that a
// chunk of 256 divides into, or that chunks divide into.
bool packs_few_bits(WeightFormat storage);

// Returns how a weight of these parts lies on the device: in 4 bits if all have as many and the same zero, else in 8,
// with the smallest of their groups. Empty: a part is to be stored dense, so all of them are, or some are FP8.
std::optional<QuantisedForm> form_of(std::span<const HostWeight> parts, const PackingOptions& options);

// Writes rows [row_begin, row_begin + out.size() / bytes of a row of tiles · 64) of the stacked parts, zeros beyond the
// last. row_begin: a multiple of kLinearTileRows. ERRORS: InvalidArgument: a number too large for int4.
absl::Status write_quantised_tiles(std::span<const HostWeight> parts, const PackingOptions& options, QuantisedForm form,
                                   std::int64_t row_begin, std::int64_t padded_k, int threads,
                                   std::span<std::byte> out);

}  // namespace coppice::kernels::cuda
