// The process's setting.
#include "kernels/cuda/overlap.h"

namespace coppice::kernels::cuda {

namespace {

bool overlaps = false;

}  // namespace

void let_launches_overlap(bool overlap) {
  overlaps = overlap;
}

bool launches_overlap() {
  return overlaps;
}

}  // namespace coppice::kernels::cuda
