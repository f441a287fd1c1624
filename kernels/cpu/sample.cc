// Greedy rows for now.
#include "kernels/cpu/sample.h"

namespace coppice::kernels::cpu {

void CpuSampler::sample(const Matrix& logits, std::span<const SamplingRow> rows, std::span<SamplingResult> results) {
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const float* values = static_cast<const float*>(logits.data) + static_cast<std::int64_t>(row) * logits.stride;
    TokenId best = 0;
    for (std::int64_t token = 1; token < logits.columns; ++token) {
      if (values[token] > values[best]) {
        best = static_cast<TokenId>(token);
      }
    }
    results[row] = SamplingResult();
    results[row].token = best;
  }
}

}  // namespace coppice::kernels::cpu
