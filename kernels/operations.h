// Operations: what a forward pass calls, in seven fused operations. One of the three interfaces of a Backend
// (backend.h). The public functions check every contract once; a device implements the private virtual functions and
// trusts its inputs.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "kernels/device.h"
#include "kernels/step.h"
#include "kernels/tensor.h"

namespace coppice::kernels {

// What rope_and_store does to one layer's fresh Q, K, V.
struct RopeParameters {
  std::int32_t query_heads = 0;
  std::int32_t key_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t rotary_dim = 0;               // leading dimensions of a head that rotate; pairs (i, i + rotary_dim / 2)
  const float* inverse_frequency = nullptr;  // [rotary_dim / 2], host memory; scaling already applied
  float attention_factor = 1.0F;             // multiplies cos and sin (YaRN)
  const float* query_norm = nullptr;         // [head_dim] RMSNorm weights per head before rotation (Qwen3), or null
  const float* key_norm = nullptr;
  float norm_epsilon = 1e-6F;
};

enum class LinearEpilogue : std::uint8_t { kStore, kAdd };  // out = product, or out += product (the residual stream)

// Nanoseconds that callers spent inside operations: for benchmarks. On a GPU these are the times to enqueue.
struct OperationTimes {
  std::uint64_t linear_ns = 0;
  std::uint64_t attention_ns = 0;
  std::uint64_t other_ns = 0;  // norms, rotation, activation, gathering

  std::uint64_t forward_ns() const { return linear_ns + attention_ns + other_ns; }
};

// Owner: the Backend. Thread: one caller at a time. Operations run in the order of the calls; on a GPU a call may
// return before its work is done. Matrices and spans are device memory unless a struct says otherwise.
class Operations {
 public:
  virtual ~Operations() = default;
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  const OperationTimes& times() const { return times_; }  // since this object was made

  // out[i, :] = table[tokens[i], :]. out: f32 [tokens, hidden]. REQUIRES: the device reads the table's format.
  void embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out);
  // out[i, :] = x[i, :] / rms(x[i, :]) * weight. x: f32 [rows, hidden]; weight: f32 [hidden]; out: f32 or the
  // compute type; an f32 out may be x itself.
  void rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out);
  // out = in · weightᵀ + bias. in: the weight's compute type [rows, in_features]; out: f32 or the same type [rows,
  // out_features]; f32 for kAdd. ENSURES: a row of out depends on its row of in alone, to the bit.
  void linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out);
  // qkv: f32 [tokens, (query_heads + 2 * key_heads) * head_dim]. Normalises and rotates Q and K; writes K, V to their
  // slots in `layer` (kNoSlot: nowhere) and Q to `query_out` [tokens, query_heads * head_dim]. positions, slots: one
  // per token. REQUIRES: the device supports the query's type beside the cache's format.
  void rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                      const RopeParameters& parameters, KvCache& cache, std::int32_t layer, const Matrix& query_out);
  // query: [tokens, query_heads * head_dim], a type that the device supports beside the cache's format; out: the same
  // type or f32, the same shape. Leaves rows from the plan's row_count on (padding) unchanged. REQUIRES: `attention`
  // came from this backend's StepRunner and is still valid.
  void attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache, std::int32_t layer,
                 const Matrix& out);
  // out[i, j] = silu(gate_up[i, j]) * gate_up[i, intermediate + j]. gate_up: f32 or out's dtype [rows, 2 *
  // intermediate].
  void swiglu(const Matrix& gate_up, const Matrix& out);
  // out[i, :] = in[rows[i], :]. Both f32.
  void gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out);

 protected:
  Operations() = default;

 private:
  // Returns whether activations may be in this type.
  virtual bool computes_in(ComputeType type) const = 0;
  // Returns whether queries of this type can attend to keys and values in this format.
  virtual bool attends(ComputeType query, KvFormat kv) const = 0;
  virtual void do_embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) = 0;
  virtual void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) = 0;
  virtual void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) = 0;
  virtual void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions,
                                 std::span<const KvSlot> slots, const RopeParameters& parameters, KvCache& cache,
                                 std::int32_t layer, const Matrix& query_out) = 0;
  virtual void do_attention(const LoadedAttention& attention, const Matrix& query, const KvCache& cache,
                            std::int32_t layer, const Matrix& out) = 0;
  virtual void do_swiglu(const Matrix& gate_up, const Matrix& out) = 0;
  virtual void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) = 0;

  OperationTimes times_;
};

}  // namespace coppice::kernels
