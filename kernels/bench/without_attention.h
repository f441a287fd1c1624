// A Backend whose attention does nothing: `coppice bench engine --attention off` measures the bound that no sharing of
// attention can beat.
#pragma once

#include <memory>

#include "kernels/backend.h"

namespace coppice::kernels {

// `backend` with attention left out; everything else is handed on. Attention's outputs keep what they held, so a step's
// results mean nothing.
std::unique_ptr<Backend> without_attention(std::unique_ptr<Backend> backend);

}  // namespace coppice::kernels
