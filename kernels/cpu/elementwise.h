// The row-wise operations on the CPU: embed, rms_norm, swiglu, gather_rows, rope_and_store. A row's result depends on
// its own inputs alone, not on other rows or the number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/types.h"
#include "kernels/host/isa.h"
#include "kernels/operations.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Arguments as in Operations (kernels/operations.h), checked there.
void embed(const CpuContext& context, std::span<const TokenId> tokens, const Table& table, const Matrix& out);
void rms_norm(const CpuContext& context, const Matrix& x, const float* weight, float epsilon, const Matrix& out);
void swiglu(const CpuContext& context, const Matrix& gate_up, const Matrix& out);
void gather_rows(const CpuContext& context, const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out);

// Rotary position embedding (arXiv 2104.09864), the norm of Q and K before it (Qwen3), and the writing of fresh K and V
// into the KV cache: everything between the QKV product and attention.
//
// Keeps the cosines and sines of the last steps' positions, which are the same in all layers of a step. Owner: the CPU
// backend. Thread: its caller; one call at a time.
class CpuRope {
 public:
  explicit CpuRope(const CpuContext& context);
  ~CpuRope();
  CpuRope(const CpuRope&) = delete;
  CpuRope& operator=(const CpuRope&) = delete;

  // As Operations::rope_and_store. The angle is float(position) * inverse_frequency, rounded to float32 as Hugging Face
  // transformers do; its cosine and sine are exact to float32. REQUIRES: `cache` was made by make_cpu_kv_cache.
  void rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                      const RopeParameters& parameters, KvCache& cache, std::int32_t layer, const Matrix& query_out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coppice::kernels::cpu
