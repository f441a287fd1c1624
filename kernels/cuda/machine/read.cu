// A kernel that only reads: how fast this GPU's memory is.
#include <device/launch.cuh>
#include <device/primitives.cuh>

#include "kernels/cuda/launch.h"

namespace coppice::kernels::cuda {

struct ReadKernel {
  static constexpr std::int32_t kThreadsMax = 512;             // of a block
  static constexpr std::int32_t kBlocksPerMultiprocessor = 2;  // 1,024 threads; chosen, not measured
  static constexpr std::int32_t kSharedBytesMax = 0;           // of a block: none
  static constexpr std::int32_t kAtOnce = 8;                   // loads that a thread has under way
  using Words = Vector<std::uint32_t, 4>;

  struct Params {
    Global<const Words> data;
    std::int64_t count;
    Global<std::uint32_t> sums;
  };

  static COPPICE_DEVICE void run(const Params& params) {
    const std::int64_t threads = std::int64_t{block_count()} * thread_count();
    std::uint32_t sum = 0;
    std::int64_t i = std::int64_t{block_index()} * thread_count() + thread_index();
    for (; i + (kAtOnce - 1) * threads < params.count; i += kAtOnce * threads) {
      Words words[kAtOnce];
#pragma unroll
      for (std::int32_t part = 0; part < kAtOnce; ++part) {
        words[part] = load_once_as<Words>(params.data + (i + part * threads));
      }
#pragma unroll
      for (std::int32_t part = 0; part < kAtOnce; ++part) {
        sum += words[part].at[0] ^ words[part].at[1] ^ words[part].at[2] ^ words[part].at[3];
      }
    }
    for (; i < params.count; i += threads) {
      const Words words = load_once_as<Words>(params.data + i);
      sum += words.at[0] ^ words.at[1] ^ words.at[2] ^ words.at[3];
    }
    // So that the compiler keeps the loads.
    atomic_add(params.sums + block_index(), sum);
  }
};

void prepare_read(LoadedKernels& loaded) {
  prepare_kernel<ReadKernel>(loaded);
}

int launch_read(const void* data, std::size_t bytes, std::uint32_t* sums, std::int32_t blocks, LaunchStream stream) {
  const ReadKernel::Params params{.data = static_cast<const ReadKernel::Words*>(data),
                                  .count = static_cast<std::int64_t>(bytes / sizeof(ReadKernel::Words)),
                                  .sums = sums};
  const LaunchShape shape{.blocks = blocks, .threads = ReadKernel::kThreadsMax, .shared_bytes = 0, .blocks_y = 1};
  return launch<ReadKernel>(shape, params, stream);
}

}  // namespace coppice::kernels::cuda
