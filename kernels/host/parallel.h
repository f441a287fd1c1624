// Fork and join of host threads, for the CPU device and for the host side of others, on the OpenMP team that oneDNN
// uses too (libgomp keeps one team per calling thread).
//
// A region runs on the whole team or on the caller alone, never on part of the team: for a smaller team libgomp ends
// the surplus threads and starts new ones for the next large team. Between regions the team spins for some milliseconds
// (libgomp's default, GOMP_SPINCOUNT 300,000) and then sleeps: awake between the operations of a step, asleep while the
// server is idle. So no environment variable is needed.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace coppice::kernels {

// Bytes of work (read or written in cache) from which a fork and join pays: about 1-2 us with an awake team.
inline constexpr std::int64_t kParallelBytes = 64 * 1024;

// Calls body(begin, end) on disjoint ranges that cover [0, count), one range per thread; on the caller alone if count <
// 2 * grain. REQUIRES: the body does not throw.
template <typename Body>
void parallel_for(int threads, std::int64_t count, std::int64_t grain, const Body& body) {
  if (threads <= 1 || count < 2 * grain || count < 2) {
    if (count > 0) {
      body(std::int64_t{0}, count);
    }
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    // The team may be smaller than requested (a system limit).
    const std::int64_t workers = omp_get_num_threads();
    const std::int64_t worker = omp_get_thread_num();
    const std::int64_t begin = count / workers * worker + std::min(worker, count % workers);
    const std::int64_t end = begin + count / workers + (worker < count % workers ? 1 : 0);
    if (begin < end) {
      body(begin, end);
    }
  }
}

// parallel_for over rows of `row_bytes` bytes of work each.
template <typename Body>
void parallel_rows(int threads, std::int64_t rows, std::int64_t row_bytes, const Body& body) {
  const std::int64_t grain = std::max<std::int64_t>(1, kParallelBytes / std::max<std::int64_t>(1, row_bytes));
  parallel_for(threads, rows, grain, body);
}

}  // namespace coppice::kernels
