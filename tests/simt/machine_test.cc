// The emulator finds what it is there to find: each defect, put into a tiny kernel, is reported, and the same kernel
// without it is not.
#include <catch2/catch.hpp>
#include <cstdint>
#include <device/launch.cuh>
#include <string>

#include "kernels/cuda/collective.cuh"

namespace coppice::kernels::cuda {
namespace {

struct Params {
  Global<const float> in;
  Global<float> out;
  Global<std::uint32_t> words;
  bool defect = false;
};

// A kernel of one lambda-like struct: Body::run(params).
template <typename Body>
struct TinyKernel : Body {
  using Params = cuda::Params;
  static constexpr std::int32_t kThreadsMax = 128;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;
  static constexpr std::int32_t kSharedBytesMax = 4096;
};

struct Result {
  int status = 0;
  std::string report;
};

template <typename Body>
Result run_tiny(bool defect, std::int32_t blocks = 1, std::uint64_t seed = 1) {
  simt::Session session({.seed = seed, .resident_blocks = 3, .idle_yields_max = 2000});
  simt::Buffer<float> in(256);
  in.zero();
  simt::Buffer<float> out(256, "out");
  simt::Buffer<std::uint32_t> words(8, "words");
  words.zero();
  Params params{in.data(), out.data(), words.data(), defect};
  Result result;
  result.status = launch<TinyKernel<Body>>({.blocks = blocks, .threads = 128, .shared_bytes = 4096}, params, {});
  result.report = session.report();
  return result;
}

// The defect is reported in these words, for every seed, and nothing is without it.
template <typename Body>
void expect_found(const std::string& words, std::int32_t blocks = 1) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Result sound = run_tiny<Body>(false, blocks, seed);
    INFO("seed " << seed << "\n" << sound.report);
    CHECK(sound.status == 0);
    CHECK(sound.report.empty());
    const Result broken = run_tiny<Body>(true, blocks, seed);
    INFO(broken.report);
    CHECK(broken.report.find(words) != std::string::npos);
  }
}

struct WriteThenRead {  // between warps
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    shared[thread_index()] = 1.0F;
    if (!params.defect) {
      sync_block();
    }
    params.out[thread_index()] = shared[(thread_index() + 32) % 128];
  }
};
struct ReadThenWrite {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    shared[thread_index()] = 1.0F;
    sync_block();
    params.out[thread_index()] = shared[(thread_index() + 1) % 128];
    if (!params.defect) {
      sync_block();
    }
    shared[thread_index()] = 2.0F;
  }
};
struct TwoWriters {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    if (thread_index() == 5 || (params.defect && thread_index() == 77)) {
      shared[0] = 1.0F;
    }
  }
};
struct WarpOrder {  // a warp barrier orders the lanes of one warp
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    shared[thread_index()] = 1.0F;
    if (!params.defect) {
      sync_warp();
    } else {
      shuffle(1, 0);  // orders nothing
    }
    params.out[thread_index()] = shared[thread_index() ^ 1];
    sync_warp();
    shared[thread_index() ^ 1] = 2.0F;
  }
};
struct WarpOrderIsNotBlockOrder {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    shared[thread_index()] = 1.0F;
    sync_warp();
    params.out[thread_index()] = shared[thread_index() ^ (params.defect ? 32 : 1)];
  }
};
struct Neighbours {  // two halves of a word are two locations
  static void run(const Params& params) {
    Shared<Bf16> shared = shared_array<Bf16>(0);
    shared[params.defect ? thread_index() / 2 : thread_index()] = Bf16{1};
  }
};
struct AtomicSharing {
  static void run(const Params& params) {
    Shared<std::uint32_t> count = shared_array<std::uint32_t>(0);
    if (thread_index() == 0) {
      count[0] = 0U;
    }
    sync_block();
    if (params.defect && thread_index() == 3) {
      count[0] = 7U;
    } else {
      atomic_add(count, 1U);
    }
    sync_block();
    if (!params.defect) {
      params.out[thread_index()] = count[0] == 128U ? 1.0F : 0.0F;
    }
  }
};

TEST_CASE("shared-memory races are found", "[simt]") {
  expect_found<WriteThenRead>("race");
  expect_found<ReadThenWrite>("writes what was just read");
  expect_found<TwoWriters>("writes over what was just written");
  expect_found<WarpOrder>("race");
  expect_found<WarpOrderIsNotBlockOrder>("race");
  expect_found<Neighbours>("writes over what was just written");
  expect_found<AtomicSharing>("race");
}

struct Uninitialised {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    if (!params.defect) {
      shared[thread_index()] = 1.0F;
    }
    params.out[thread_index()] = shared[thread_index()];
  }
};
struct SharedOutOfBounds {
  static void run(const Params& params) { shared_array<float>(0)[thread_index() + (params.defect ? 897 : 896)] = 1.0F; }
};
struct GlobalOutOfBounds {
  static void run(const Params& params) { params.out[thread_index() + (params.defect ? 129 : 128)] = 1.0F; }
};
struct GlobalBelow {
  static void run(const Params& params) {
    params.out[thread_index()] = params.in[thread_index() - (params.defect ? 1 : 0)];
  }
};
struct Misaligned {
  static void run(const Params& params) {
    const auto four = load_as<Vector<float, 4>>(params.in + (params.defect ? 2 : 4));
    params.out[thread_index()] = four.at[0];
  }
};
struct WriteToConstant {
  static void run(const Params& params) {
    Global<float> target = params.defect ? Global<float>(const_cast<float*>(params.in.raw())) : params.out;
    target[thread_index()] = 1.0F;
  }
};

TEST_CASE("accesses outside of buffers, misaligned ones and reads of nothing are found", "[simt]") {
  expect_found<Uninitialised>("nothing was written to");
  expect_found<SharedOutOfBounds>("out of bounds or misaligned");
  expect_found<GlobalOutOfBounds>("out of bounds");
  expect_found<GlobalBelow>("out of bounds");
  expect_found<Misaligned>("misaligned");
  simt::Session session;
  simt::Buffer<float> in(128, "in", false);
  simt::Buffer<float> out(128);
  CHECK(launch<TinyKernel<WriteToConstant>>({.threads = 128}, {in.data(), out.data(), {}, false}, {}) == 0);
  CHECK(launch<TinyKernel<WriteToConstant>>({.threads = 128}, {in.data(), out.data(), {}, true}, {}) == 1);
  CHECK(session.report().find("only to be read") != std::string::npos);
}

struct MissingThread {
  static void run(const Params& params) {
    if (params.defect && thread_index() == 9) {
      return;
    }
    sync_block();
  }
};
struct TwoPlaces {
  static void run(const Params& params) {
    if (params.defect && thread_index() < 32) {
      sync_block();
    } else {
      sync_block();
    }
    if (!params.defect) {
      sync_block();
    }
  }
};
struct MissingLane {
  static void run(const Params& params) {
    if (!params.defect || lane_index() != 3) {
      params.out[thread_index()] = shuffle(1.0F, 0);
    }
  }
};
struct OtherPrimitive {
  static void run(const Params& params) {
    if (params.defect && lane_index() < 16) {
      sync_warp();
    } else {
      ballot(true);
    }
  }
};
struct WaitsForNoThread {
  static void run(const Params& params) {
    if (thread_index() == 0) {
      if (!params.defect) {
        store_release(params.words, 1);
      }
      while (load_acquire(params.words) == 0) {
        rest();
      }
    }
    sync_block();
  }
};

struct WaitsWithoutRest {  // block 0 for block 1
  static void run(const Params& params) {
    if (thread_index() == 0 && block_index() == 0) {
      while (load_acquire(params.words) == 0) {
        if (!params.defect) {
          rest();
        }
      }
    } else if (thread_index() == 0) {
      for (std::int32_t i = 0; i < 50; ++i) {
        atomic_add(params.words + 1, 1U);
      }
      store_release(params.words, 1);
    }
    sync_block();
  }
};

TEST_CASE("divergent barriers and endless waits are found", "[simt]") {
  expect_found<WaitsWithoutRest>("wait without rest", 2);
  expect_found<MissingThread>("divergent barrier");
  expect_found<TwoPlaces>("divergent barrier");
  expect_found<MissingLane>("divergent barrier");
  expect_found<OtherPrimitive>("divergent barrier");
  expect_found<WaitsForNoThread>("waits at sync_block");
}

struct CopyBeforeWait {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    const std::int32_t mine = thread_index() * 4 % 256;
    copy_async_16(shared + thread_index() * 4, params.in + mine);
    copy_async_commit();
    copy_async_16(shared + 512 + thread_index() * 4, params.in + mine);
    copy_async_commit();
    if (params.defect) {
      copy_async_wait<1>();
    } else {
      copy_async_wait<0>();
    }
    params.out[thread_index()] = shared[thread_index() * 4];
    params.out[thread_index()] = shared[512 + thread_index() * 4];
    copy_async_wait<0>();
  }
};
struct CopyWithoutBarrier {
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    copy_async_16(shared + thread_index() * 4, params.in + thread_index() % 64 * 4);
    copy_async_commit();
    copy_async_wait<0>();
    if (!params.defect) {
      sync_block();
    }
    params.out[thread_index()] = shared[(thread_index() * 4 + 128) % 512];
  }
};
struct CopyOverReaders {  // the next copy may only start when all have read
  static void run(const Params& params) {
    Shared<float> shared = shared_array<float>(0);
    for (std::int32_t turn = 0; turn < 2; ++turn) {
      copy_async_16(shared + thread_index() * 4, params.in + thread_index() % 64 * 4);
      copy_async_commit();
      copy_async_wait<0>();
      sync_block();
      params.out[thread_index()] = shared[(thread_index() * 4 + 128) % 512];
      if (!params.defect) {
        sync_block();
      }
    }
  }
};
struct CopyLeft {
  static void run(const Params& params) {
    copy_async_16_or_zeros(shared_array<float>(0) + thread_index() * 4, params.in, thread_index() < 3);
    copy_async_commit();
    if (!params.defect) {
      copy_async_wait<0>();
    }
  }
};

TEST_CASE("asynchronous copies that are read too early are found", "[simt]") {
  expect_found<CopyBeforeWait>("before its asynchronous copy");
  expect_found<CopyWithoutBarrier>("race");
  expect_found<CopyOverReaders>("writes what was just read");
  expect_found<CopyLeft>("ended before its asynchronous copies");
}

// What a kernel that begins early may touch before it has waited for the kernels before it.
struct EarlyRead {
  static constexpr bool kBeginsEarly = true;
  static void run(const Params& params) {
    if (!params.defect) {
      wait_for_earlier();
    }
    const float value = params.in[thread_index()];
    wait_for_earlier();
    params.out[thread_index()] = value;
  }
};
struct EarlyCopy {
  static constexpr bool kBeginsEarly = true;
  static void run(const Params& params) {
    if (!params.defect) {
      wait_for_earlier();
    }
    copy_async_16(shared_array<float>(0) + thread_index() * 4, params.in);
    copy_async_commit();
    copy_async_wait<0>();
  }
};
struct EarlyWrite {
  static constexpr bool kBeginsEarly = true;
  static void run(const Params& params) {
    if (!params.defect) {
      wait_for_earlier();
    }
    params.out[thread_index()] = 1.0F;
  }
};

TEST_CASE("what a kernel touches before it has waited for those before it is found", "[simt]") {
  expect_found<EarlyRead>("early access");
  expect_found<EarlyCopy>("early access");
  expect_found<EarlyWrite>("early access");
}

// Counts blocks and lets the last one add up what the others left.
struct LastBlock {
  static void run(const Params& params) {
    params.out[block_index() * 16 + thread_index() % 16] = static_cast<float>(block_index());
    sync_block();
    Shared<std::uint32_t> last = shared_array<std::uint32_t>(0);
    if (thread_index() == 0) {
      last[0] = atomic_add_acquire_release(params.words, 1);
    }
    sync_block();
    const std::uint32_t before = last[0];
    if (before + 1 == static_cast<std::uint32_t>(block_count()) && thread_index() == 0) {
      float sum = 0;
      for (std::int32_t i = 0; i < block_count(); ++i) {
        sum += params.out[i * 16];
      }
      params.out[255] = sum;
    }
  }
};
// Block i waits for block i - 1: three at a time run side by side, in any order that the seed draws.
struct Chain {
  static void run(const Params& params) {
    Shared<std::uint32_t> turn = shared_array<std::uint32_t>(0);
    if (thread_index() == 0) {
      turn[0] = atomic_add(params.words, 1U);
      while (load_acquire(params.words + 1) != static_cast<std::uint32_t>(turn[0])) {
        rest();
      }
      params.out[static_cast<std::uint32_t>(turn[0])] = static_cast<float>(block_index());
      store_release(params.words + 1, turn[0] + 1U);
    }
  }
};

TEST_CASE("blocks run side by side and may wait for one another", "[simt]") {
  std::vector<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    simt::Session session({.seed = seed});
    simt::Buffer<float> out(256);
    simt::Buffer<std::uint32_t> words(2);
    words.zero();
    REQUIRE(launch<TinyKernel<LastBlock>>({.blocks = 9, .threads = 64, .shared_bytes = 16},
                                          {{}, out.data(), words.data(), false}, {}) == 0);
    CHECK(out[255] == 36.0F);
    words.zero();
    REQUIRE(launch<TinyKernel<Chain>>({.blocks = 9, .threads = 64, .shared_bytes = 16},
                                      {{}, out.data(), words.data(), false}, {}) == 0);
    std::string order;
    float sum = 0;
    for (std::size_t i = 0; i < 9; ++i) {
      order += std::to_string(static_cast<int>(out[i]));
      sum += out[i];
    }
    CHECK(sum == 36.0F);
    orders.push_back(order);
    INFO(session.report());
    CHECK(session.violations().empty());
  }
  CHECK(orders[0] != orders[1]);  // the seed decides
}

struct Collectives {
  static void run(const Params& params) {
    const float value = static_cast<float>(thread_index());
    const float sum = block_sum(value, shared_array<float>(0));
    const float most = block_max(-value, shared_array<float>(64));
    params.out[thread_index()] = sum + most + shuffle_up(value, 1) + 1000.0F * shuffle_down(value, 2) +
                                 (warp_any(lane_index() == 3) ? 0.25F : 0.0F) + (warp_all(true) ? 0.5F : 0.0F);
  }
};

TEST_CASE("sums, maxima and shuffles", "[simt]") {
  simt::Session session;
  simt::Buffer<float> out(128);
  REQUIRE(launch<TinyKernel<Collectives>>({.threads = 128, .shared_bytes = 256}, {{}, out.data(), {}, false}, {}) == 0);
  CHECK(session.report().empty());
  for (std::size_t i = 0; i < 128; ++i) {
    const std::size_t lane = i % 32;
    const auto above = static_cast<float>(lane == 0 ? i : i - 1);
    const auto below = static_cast<float>(lane >= 30 ? i : i + 2);
    CHECK(out[i] == 8128.0F + above + 1000.0F * below + 0.75F);
  }
}

}  // namespace
}  // namespace coppice::kernels::cuda
