// Weight matrices on the GPU: parts stacked on their rows, converted, and padded with zeros to whole tiles, so that
// kernels read them without bounds checks.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "kernels/cuda/linear/linear.h"
#include "kernels/cuda/runtime.h"
#include "kernels/cuda/step/staging.h"
#include "kernels/device.h"

namespace coppice::kernels::cuda {

// Bytes of the device memory through which rows pass on their way to their tiles, shared by all weights: 512 rows of
// 8192 bf16 numbers. Chosen, not measured.
inline constexpr std::size_t kUnpackedRowsBytes = std::size_t{8} << 20;

// [rows padded to kLinearPadN][columns padded to kLinearBlockK], as linear.h or quantised.h lays it out. Immutable.
class CudaLinearWeight : public LinearWeight {
 public:
  CudaLinearWeight(std::int64_t out_features, std::int64_t in_features, ComputeType type, QuantisedForm form,
                   Buffer matrix, Buffer bias);

  std::size_t bytes() const override;
  WeightFormat factors() const { return dense_format(type_); }  // what is multiplied
  QuantisedForm form() const { return form_; }
  const void* matrix() const { return matrix_.data(); }
  const float* bias() const { return static_cast<const float*>(bias_.data()); }  // null without one
  std::int64_t padded_k() const { return padded_k_; }
  int slices() const { return slices_; }

 private:
  ComputeType type_;
  QuantisedForm form_;
  Buffer matrix_;
  Buffer bias_;
  std::int64_t padded_k_;
  int slices_;
};

// As Device::pack_linear, arguments checked: in few bits where form_of() has a form, else dense. unpacked:
// kUnpackedRowsBytes of device memory, used on `stream`. threads: converters. ERRORS: ResourceExhausted;
// InvalidArgument: a number too large for int4.
absl::StatusOr<std::unique_ptr<LinearWeight>> pack_weight(std::span<const HostWeight> parts,
                                                          std::span<const HostWeight> biases,
                                                          const PackingOptions& options, const Buffer& unpacked,
                                                          Staging& staging, cudaStream_t stream, int threads);

}  // namespace coppice::kernels::cuda
