// Whether kernels are launched so that they overlap the kernel before them (device/overlap.cuh). One setting for the
// process, made before the first launch.
#pragma once

namespace coppice::kernels::cuda {

void let_launches_overlap(bool overlap);
bool launches_overlap();

}  // namespace coppice::kernels::cuda
