// The row-wise operations on the CPU: embed, rms_norm, swiglu, gather_rows. A row's result depends on its own inputs
// alone, whatever the other rows and the number of threads: rows are whole units of work.
#pragma once

#include <cstdint>
#include <span>

#include "base/types.h"
#include "kernels/cpu/isa.h"
#include "kernels/tensor.h"

namespace coppice::kernels::cpu {

// Arguments as in Operations (kernels/operations.h), checked there.
void embed(const CpuContext& context, std::span<const TokenId> tokens, const Matrix& table, const Matrix& out);
void rms_norm(const CpuContext& context, const Matrix& x, const float* weight, float epsilon, const Matrix& out);
void swiglu(const CpuContext& context, const Matrix& gate_up, const Matrix& out);
void gather_rows(const CpuContext& context, const Matrix& in, std::span<const std::int32_t> rows, const Matrix& out);

}  // namespace coppice::kernels::cpu
