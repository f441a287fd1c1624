// Operations on a GPU: one launch per operation.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/cuda/attention/step.h"
#include "kernels/cuda/context.h"
#include "kernels/operations.h"

namespace coppice::kernels::cuda {

// Owner: the CUDA backend. Thread: one caller at a time.
class CudaOperations final : public Operations {
 public:
  // REQUIRES: `context` and `attention` (the memory of a step's attention) outlive it. ERRORS: ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<CudaOperations>> create(CudaContext& context, const AttentionStep& attention);

 private:
  // Inverse frequencies on the device, and the host array that they are a copy of. A value.
  struct Frequencies {
    std::vector<float> host;
    Buffer device;
  };

  CudaOperations(CudaContext& context, const AttentionStep& attention, Buffer workspace, Buffer counters);

  bool computes_in(ComputeType) const override { return true; }
  bool attends(ComputeType query, KvFormat kv) const override { return kv == kv_format_of(query); }
  void do_embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) override;
  void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) override;
  void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) override;
  void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                         const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                         const Matrix& query_out) override;
  void do_attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache, std::int32_t layer,
                    const Matrix& out) override;
  void do_swiglu(const Matrix& gate_up, const Matrix& out) override;
  void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) override;

  const float* frequencies_of(const RopeParameters& parameters);

  CudaContext& context_;
  const AttentionStep& attention_;
  Buffer workspace_;                      // sums of slices (linear/linear.h)
  Buffer counters_;                       // of tiles whose slices are done by several blocks
  std::vector<Frequencies> frequencies_;  // one per kind of rope in a model
};

}  // namespace coppice::kernels::cuda
