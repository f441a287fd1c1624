// Operations that hand on all calls except attention.
#include "kernels/bench/without_attention.h"

#include <utility>

namespace coppice::kernels {
namespace {

class OperationsWithoutAttention final : public Operations {
 public:
  explicit OperationsWithoutAttention(Operations& operations) : operations_(operations) {}

 private:
  // operations_ checks.
  bool computes_in(ComputeType) const override { return true; }
  bool attends(ComputeType, KvFormat) const override { return true; }
  void do_embed(std::span<const TokenId> tokens, const Table& table, const Matrix& out) override {
    operations_.embed(tokens, table, out);
  }
  void do_rms_norm(const Matrix& x, const float* weight, float epsilon, const Matrix& out) override {
    operations_.rms_norm(x, weight, epsilon, out);
  }
  void do_linear(const Matrix& in, const LinearWeight& weight, LinearEpilogue epilogue, const Matrix& out) override {
    operations_.linear(in, weight, epilogue, out);
  }
  void do_rope_and_store(const Matrix& qkv, std::span<const std::int32_t> positions, std::span<const KvSlot> slots,
                         const RopeParameters& parameters, KvCache& cache, std::int32_t layer,
                         const Matrix& query_out) override {
    operations_.rope_and_store(qkv, positions, slots, parameters, cache, layer, query_out);
  }
  void do_attention(const LoadedAttention&, const Matrix&, const KvCache&, std::int32_t, const Matrix&) override {}
  void do_swiglu(const Matrix& gate_up, const Matrix& out) override { operations_.swiglu(gate_up, out); }
  void do_gather_rows(const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out) override {
    operations_.gather_rows(in, rows, out);
  }

  Operations& operations_;
};

class BackendWithoutAttention final : public Backend {
 public:
  explicit BackendWithoutAttention(std::unique_ptr<Backend> backend)
      : backend_(std::move(backend)), operations_(backend_->operations()) {}

  Device& device() override { return backend_->device(); }
  StepRunner& steps() override { return backend_->steps(); }
  Operations& operations() override { return operations_; }

 private:
  const std::unique_ptr<Backend> backend_;
  OperationsWithoutAttention operations_;
};

}  // namespace

std::unique_ptr<Backend> without_attention(std::unique_ptr<Backend> backend) {
  return std::make_unique<BackendWithoutAttention>(std::move(backend));
}

}  // namespace coppice::kernels
