// Allocation of a forward pass's working memory (activations.h).
#include "models/activations.h"

#include <cstdint>
#include <utility>

#include "base/status_macros.h"

namespace coppice::models {
namespace {

using kernels::DType;
using kernels::Matrix;

absl::Status allocate(kernels::Device& device, std::int64_t rows, std::int64_t columns, DType dtype, Matrix& matrix,
                      std::vector<kernels::Buffer>& memory) {
  const std::size_t bytes =
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * kernels::dtype_bytes(dtype);
  COPPICE_ASSIGN_OR_RETURN(kernels::Buffer buffer, device.allocate(bytes));
  matrix = buffer.matrix(dtype, rows, columns);
  memory.push_back(std::move(buffer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Activations> make_activations(const ModelConfig& config, DType dtype, const TransformerLimits& limits,
                                             kernels::Device& device) {
  const std::int64_t tokens = limits.step_tokens;
  const std::int64_t logits_rows = limits.step_logits;
  const std::int64_t head_dim = config.head_dim;
  const std::int64_t query = config.query_heads * head_dim;
  const std::int64_t qkv = (config.query_heads + 2 * config.key_heads) * head_dim;
  Activations made;
  struct Wanted {
    Matrix* matrix;
    std::int64_t rows;
    std::int64_t columns;
    DType dtype;
  };
  const Wanted list[] = {
      {&made.residual, tokens, config.hidden, DType::kF32},
      {&made.normed, tokens, config.hidden, dtype},
      {&made.qkv, tokens, qkv, DType::kF32},
      {&made.query, tokens, query, dtype},
      {&made.attended, tokens, query, dtype},
      {&made.gate_up, tokens, std::int64_t{2} * config.intermediate, dtype},
      {&made.activated, tokens, config.intermediate, dtype},
      {&made.logits_residual, logits_rows, config.hidden, DType::kF32},
      {&made.logits, logits_rows, config.vocab, DType::kF32},
  };
  for (const Wanted& wanted : list) {
    COPPICE_RETURN_IF_ERROR(allocate(device, wanted.rows, wanted.columns, wanted.dtype, *wanted.matrix, made.memory));
  }
  return made;
}

}  // namespace coppice::models
