// Allocation of a forward pass's working memory (activations.h).
#include "models/activations.h"

#include <cstdint>
#include <utility>

#include "base/status_macros.h"

namespace coppice::models {
namespace {

using kernels::ComputeType;
using kernels::Matrix;

absl::Status allocate(kernels::Device& device, std::int64_t rows, std::int64_t columns, ComputeType type,
                      Matrix& matrix, std::vector<kernels::Buffer>& memory) {
  const std::size_t bytes =
      static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) * kernels::element_bytes(type);
  COPPICE_ASSIGN_OR_RETURN(kernels::Buffer buffer, device.allocate(bytes));
  matrix = buffer.matrix(type, rows, columns);
  memory.push_back(std::move(buffer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Activations> make_activations(const ModelConfig& config, ComputeType compute,
                                             const TransformerLimits& limits, kernels::Device& device) {
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
    ComputeType type;
  };
  const Wanted list[] = {
      {&made.residual, tokens, config.hidden, ComputeType::kF32},
      {&made.normed, tokens, config.hidden, compute},
      {&made.qkv, tokens, qkv, ComputeType::kF32},
      {&made.query, tokens, query, compute},
      {&made.attended, tokens, query, compute},
      {&made.gate_up, tokens, std::int64_t{2} * config.intermediate, compute},
      {&made.activated, tokens, config.intermediate, compute},
      {&made.logits_residual, logits_rows, config.hidden, ComputeType::kF32},
      {&made.logits, logits_rows, config.vocab, ComputeType::kF32},
  };
  for (const Wanted& wanted : list) {
    COPPICE_RETURN_IF_ERROR(allocate(device, wanted.rows, wanted.columns, wanted.type, *wanted.matrix, made.memory));
  }
  return made;
}

}  // namespace coppice::models
