// Hopper's parts of the emulator: each defect of barriers in shared memory, bulk copies and products, put into a tiny
// kernel, is reported, and the same kernel without it is not.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <device/hopper.cuh>
#include <device/launch.cuh>
#include <string>

namespace coppice::kernels::cuda {
namespace {

struct Params {
  Global<const std::uint16_t> in;
  Global<float> out;
  bool defect = false;
};

constexpr std::int32_t kBarrierPlace = 40960;

template <typename Body>
struct TinyKernel : Body {
  using Params = cuda::Params;
  static constexpr std::int32_t kThreadsMax = 256;
  static constexpr std::int32_t kBlocksPerMultiprocessor = 1;
  static constexpr std::int32_t kSharedBytesMax = kBarrierPlace + 64;
};

struct Result {
  int status = 0;
  std::string report;
  float first = 0;
};

template <typename Body>
Result run_tiny(bool defect, std::uint64_t seed) {
  simt::Session session({.seed = seed});
  simt::Buffer<std::uint16_t> in(16384);
  for (std::size_t i = 0; i < in.size(); ++i) {
    in[i] = from_float<Bf16>(1.0F).bits;
  }
  simt::Buffer<float> out(1024, "out");
  using Kernel = TinyKernel<Body>;
  Result result;
  result.status = launch<Kernel>({.threads = Kernel::kThreadsMax, .shared_bytes = Kernel::kSharedBytesMax},
                                 {in.data(), out.data(), defect}, {});
  result.report = session.report();
  result.first = out[0];
  return result;
}

template <typename Body>
void expect_found(const std::string& words) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const Result sound = run_tiny<Body>(false, seed);
    INFO("seed " << seed << "\n" << sound.report);
    CHECK(sound.status == 0);
    CHECK(sound.report.empty());
    const Result broken = run_tiny<Body>(true, seed);
    INFO(broken.report);
    CHECK(broken.report.find(words) != std::string::npos);
  }
}

Shared<std::uint64_t> barrier(std::int32_t index) {
  return shared_array<std::uint64_t>(kBarrierPlace) + index;
}
// Barrier 0 for `count` arrivals, barrier 1 for `count_of_second` or as many.
void make_barriers(std::uint32_t count, bool publishes = true, std::uint32_t count_of_second = 0) {
  if (thread_index() == 0) {
    barrier_initialise(barrier(0), count);
    barrier_initialise(barrier(1), count_of_second == 0 ? count : count_of_second);
    if (publishes) {
      barrier_publish();
    }
  }
  sync_block();
}
bool is_first_group() {
  return thread_index() < 128;
}
struct HandOver {  // a barrier orders plain accesses of the two groups
  static void run(const Params& params) {
    make_barriers(128);
    const Shared<float> shared = shared_array<float>(0);
    const std::int32_t place = thread_index() % 128;
    if (is_first_group()) {
      shared[place] = 1.0F;
      barrier_arrive(barrier(0));
    } else {
      if (!params.defect) {
        barrier_wait(barrier(0), 0);
      }
      params.out[place] = shared[place];
    }
  }
};
struct WrongPhase {  // the phase before the first is over
  static void run(const Params& params) {
    make_barriers(128);
    const Shared<float> shared = shared_array<float>(0);
    if (is_first_group()) {
      shared[thread_index()] = 1.0F;
      barrier_arrive(barrier(0));
    } else {
      barrier_wait(barrier(0), params.defect ? 1 : 0);
      params.out[thread_index() % 128] = shared[thread_index() % 128];
    }
  }
};
struct ReuseWithoutAsking {  // the writer must hear that its reader is done
  static void run(const Params& params) {
    make_barriers(128);
    const Shared<float> shared = shared_array<float>(0);
    const std::int32_t place = thread_index() % 128;
    for (std::uint32_t turn = 0; turn < 2; ++turn) {
      if (is_first_group()) {
        if (!params.defect) {
          barrier_wait(barrier(1), turn ^ 1);
        }
        shared[place] = 1.0F;
        barrier_arrive(barrier(0));
      } else {
        barrier_wait(barrier(0), turn);
        params.out[place] = shared[place];
        barrier_arrive(barrier(1));
      }
    }
  }
};
struct MissingArrival {
  static void run(const Params& params) {
    make_barriers(128);
    if (is_first_group()) {
      if (!params.defect || thread_index() != 5) {
        barrier_arrive(barrier(0));
      }
    } else {
      barrier_wait(barrier(0), 0);
    }
  }
};
struct Unpublished {
  static void run(const Params& params) {
    make_barriers(256, !params.defect);
    barrier_arrive(barrier(0));
  }
};
struct NotInitialised {
  static void run(const Params& params) {
    make_barriers(256);
    barrier_arrive(barrier(params.defect ? 2 : 0));
  }
};

TEST_CASE("barriers in shared memory: what they order, and what goes wrong with them", "[simt]") {
  expect_found<HandOver>("shared-memory race");
  expect_found<WrongPhase>("shared-memory race");
  expect_found<ReuseWithoutAsking>("shared-memory race");
  expect_found<MissingArrival>("waits at barrier_wait");
  expect_found<Unpublished>("barrier_publish()");
  expect_found<NotInitialised>("which no thread initialised");
}

struct BulkBeforeWait {
  static void run(const Params& params) {
    make_barriers(1);
    if (thread_index() == 0) {
      barrier_arrive_expecting(barrier(0), 1024);
      copy_bulk(shared_array<std::uint16_t>(0), params.in, 1024, barrier(0));
    }
    sync_block();
    if (!params.defect) {
      barrier_wait(barrier(0), 0);
    }
    params.out[thread_index()] = to_float(Bf16{shared_array<std::uint16_t>(0)[thread_index()]});
    if (params.defect) {
      barrier_wait(barrier(0), 0);
    }
  }
};
struct BulkOverReaders {
  static void run(const Params& params) {
    make_barriers(1);
    for (std::int32_t turn = 0; turn < 2; ++turn) {
      if (thread_index() == 0) {
        barrier_arrive_expecting(barrier(turn), 1024);
        copy_bulk(shared_array<std::uint16_t>(0), params.in, 1024, barrier(turn));
      }
      barrier_wait(barrier(turn), 0);
      params.out[thread_index()] = to_float(Bf16{shared_array<std::uint16_t>(0)[thread_index()]});
      if (!params.defect) {
        sync_block();
      }
    }
  }
};
struct WrongBytes {
  static void run(const Params& params) {
    make_barriers(1);
    if (thread_index() == 0) {
      barrier_arrive_expecting(barrier(0), params.defect ? 1040 : 1024);
      copy_bulk(shared_array<std::uint16_t>(0), params.in, 1024, barrier(0));
    }
    barrier_wait(barrier(0), 0);
  }
};
struct BulkLeft {
  static void run(const Params& params) {
    make_barriers(1);
    if (thread_index() == 0) {
      barrier_arrive_expecting(barrier(0), 1024);
      copy_bulk(shared_array<std::uint16_t>(0), params.in, 1024, barrier(0));
    }
    if (!params.defect) {
      barrier_wait(barrier(0), 0);
    }
  }
};
struct BulkMisaligned {
  static void run(const Params& params) {
    make_barriers(1);
    if (thread_index() == 0) {
      barrier_arrive_expecting(barrier(0), 1024);
      copy_bulk(shared_array<std::uint16_t>(0), params.in + (params.defect ? 4 : 8), 1024, barrier(0));
    }
    barrier_wait(barrier(0), 0);
  }
};
struct BulkOverPlainWrites {  // those need a fence, barrier or not
  static void run(const Params& params) {
    make_barriers(1);
    shared_array<std::uint16_t>(0)[thread_index()] = std::uint16_t{1};
    if (!params.defect) {
      fence_async_proxy();
    }
    sync_block();
    if (thread_index() == 0) {
      barrier_arrive_expecting(barrier(0), 1024);
      copy_bulk(shared_array<std::uint16_t>(0), params.in, 1024, barrier(0));
    }
    barrier_wait(barrier(0), 0);
  }
};

TEST_CASE("bulk copies: early reads, early reuse, wrong counts, what is left", "[simt]") {
  expect_found<BulkBeforeWait>("before its asynchronous copy");
  expect_found<BulkOverReaders>(" byte ");  // a race or an early read, whichever comes first
  expect_found<WrongBytes>("waits at barrier_wait");
  expect_found<BulkLeft>("a bulk copy that no thread waited for");
  expect_found<BulkMisaligned>("misaligned");
  expect_found<BulkOverPlainWrites>("missing proxy fence");
}

// One thread of the second group brings 64 x 64 and 128 x 64 ones, the first group multiplies 16 columns of them,
// twice.
enum class Defect {
  kNoWaitForBytes,
  kOnlySomeLanesWait,
  kNoBegin,
  kWritesSums,
  kReadsSums,
  kReleasesTooEarly,
  kLeftRunning,
  kOneWarpLess,
  kOtherDescriptor,
  kOutOfBounds
};
constexpr std::int32_t kSecondPlace = 8192;  // of the larger matrix, bytes

std::uint64_t matrix_at(std::int32_t bytes) {
  return matrix_descriptor(shared_array<std::uint16_t>(bytes), 16, 1024, SharedSwizzle::k128);
}

template <Defect defect>
struct Multiply {
  static void bring(const Params& params) {
    for (std::uint32_t turn = 0; turn < 2; ++turn) {
      barrier_wait(barrier(1), turn ^ 1);
      barrier_arrive_expecting(barrier(0), 8192 + 16384);
      copy_bulk(shared_array<std::uint16_t>(0), params.in, 8192, barrier(0));
      copy_bulk(shared_array<std::uint16_t>(kSecondPlace), params.in, 16384, barrier(0));
    }
  }
  static void run(const Params& params) {
    const auto is = [&](Defect which) { return params.defect && which == defect; };
    make_barriers(1, true, 4);
    if (!is_first_group()) {
      if (thread_index() == 128) {
        bring(params);
      }
      return;
    }
    float d[64];
    for (float& sum : d) {
      sum = 2.0F;
    }
    float result = 0;
    for (std::uint32_t turn = 0; turn < 2; ++turn) {
      if (!is(Defect::kNoWaitForBytes) && (!is(Defect::kOnlySomeLanesWait) || lane_index() < 16)) {
        barrier_wait(barrier(0), turn);
      }
      if (!is(Defect::kNoBegin)) {
        multiply_begin(d);
      }
      const std::int32_t second = is(Defect::kOutOfBounds)                            ? 32768
                                  : is(Defect::kOtherDescriptor) && warp_index() == 2 ? 0
                                                                                      : kSecondPlace;
      if (!is(Defect::kOneWarpLess) || warp_index() != 3 || turn == 0) {
        multiply_async<Bf16>(d, matrix_at(0), matrix_at(second));
      }
      multiply_commit();
      const float early = d[0];
      if (is(Defect::kWritesSums)) {
        d[1] = 0.0F;
      }
      if (is(Defect::kReleasesTooEarly) && lane_index() == 0) {
        barrier_arrive(barrier(1));
      }
      if (!is(Defect::kLeftRunning) || turn == 0) {
        multiply_wait<0>(d);
      }
      if (!is(Defect::kReleasesTooEarly) && lane_index() == 0) {
        barrier_arrive(barrier(1));
      }
      result = is(Defect::kReadsSums) ? early : d[0];
    }
    params.out[thread_index()] = result;
  }
};

TEST_CASE("products of a warpgroup: what they read and what they write while they run", "[simt]") {
  expect_found<Multiply<Defect::kNoWaitForBytes>>("a product of warp");
  expect_found<Multiply<Defect::kOnlySomeLanesWait>>("not all of its lanes have waited for");
  expect_found<Multiply<Defect::kNoBegin>>("without multiply_begin()");
  expect_found<Multiply<Defect::kWritesSums>>("wrote sums before it waited");
  expect_found<Multiply<Defect::kReleasesTooEarly>>("may still read");
  expect_found<Multiply<Defect::kLeftRunning>>("ended before its products");
  expect_found<Multiply<Defect::kOneWarpLess>>("divergent product");
  expect_found<Multiply<Defect::kOtherDescriptor>>("divergent product");
  expect_found<Multiply<Defect::kOutOfBounds>>("out of bounds");
  CHECK(run_tiny<Multiply<Defect::kReadsSums>>(false, 1).first == 34.0F);
  CHECK(std::isnan(run_tiny<Multiply<Defect::kReadsSums>>(true, 1).first));
}

// Matrices that the threads themselves write.
enum class Source { kStores, kCopies, kCopiesNotWaitedFor, kOtherWarps };
template <Source source>
struct OwnWrites {
  static void run(const Params& params) {
    const Shared<std::uint16_t> matrices = shared_array<std::uint16_t>(0);
    for (std::int32_t i = thread_index() * 8; i < (kSecondPlace + 16384) / 2; i += 256 * 8) {
      if (source == Source::kCopies || source == Source::kCopiesNotWaitedFor) {
        copy_async_16(matrices + i, params.in + i);
      } else {
        store_as(matrices + i, load_as<Vector<std::uint16_t, 8>>(params.in + i));
      }
    }
    copy_async_commit();
    if (!params.defect || source != Source::kCopiesNotWaitedFor) {
      copy_async_wait<0>();
    }
    if (!params.defect || source == Source::kOtherWarps || source == Source::kCopiesNotWaitedFor) {
      fence_async_proxy();
    }
    if (!params.defect || source != Source::kOtherWarps) {
      sync_block();
    }
    float d[64] = {};
    multiply_begin(d);
    multiply_async<Bf16>(d, matrix_at(0), matrix_at(kSecondPlace));
    multiply_commit();
    multiply_wait<0>(d);
    params.out[thread_index()] = d[0];
    copy_async_wait<0>();
    if (params.defect && source == Source::kOtherWarps) {
      sync_block();
    }
  }
};

TEST_CASE("what a product reads was waited for, fenced and handed over", "[simt]") {
  expect_found<OwnWrites<Source::kStores>>("missing proxy fence");
  expect_found<OwnWrites<Source::kCopies>>("missing proxy fence");
  expect_found<OwnWrites<Source::kCopiesNotWaitedFor>>("early read");
  expect_found<OwnWrites<Source::kOtherWarps>>("a product of warp");
  CHECK(run_tiny<OwnWrites<Source::kStores>>(false, 1).first == 16.0F);
}

}  // namespace
}  // namespace coppice::kernels::cuda
