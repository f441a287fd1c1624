// Aligned memory on huge pages. Large zeroed pieces are the system's zero pages, allocated at first use.
#include "kernels/cpu/memory.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/status/status.h"
#include "base/cpu_info.h"
#include "fmt/format.h"
#include "kernels/host/parallel.h"

namespace coppice::kernels::cpu {

namespace {

constexpr std::size_t kCacheLine = 64;                   // bytes
constexpr std::size_t kHugePage = std::size_t{2} << 20;  // bytes, on x86-64 and most ARM
// From here up the loss by rounding up to huge pages stays under a third, and TLB misses start to show.
constexpr std::size_t kHugePageFrom = std::size_t{4} << 20;

std::size_t round_up(std::size_t value, std::size_t unit) {
  return (value + unit - 1) / unit * unit;
}

// The begin and length of a mapping; stored before the data.
struct Mapping {
  void* base;
  std::size_t bytes;
};

absl::Status exhausted(std::size_t bytes, std::int64_t available) {
  return absl::ResourceExhaustedError(
      fmt::format("memory: {:.2f} GB wanted, {:.2f} GB available; use a smaller model or a smaller KV pool",
                  static_cast<double>(bytes) / 1e9, static_cast<double>(available) / 1e9));
}

}  // namespace

absl::StatusOr<Buffer> allocate_uninitialized(std::size_t bytes) {
  if (bytes == 0) {
    return Buffer();
  }
  const std::size_t alignment = bytes >= kHugePageFrom ? kHugePage : kCacheLine;
  if (bytes > SIZE_MAX - alignment) {
    return exhausted(bytes, 0);
  }
  // Reading /proc costs more than a small piece.
  if (bytes >= kHugePageFrom) {
    const std::int64_t available = base::available_memory_bytes();
    if (available >= 0 && bytes > static_cast<std::uint64_t>(available)) {
      return exhausted(bytes, available);
    }
  }
  void* data = std::aligned_alloc(alignment, round_up(bytes, alignment));
  if (data == nullptr) {
    return exhausted(bytes, 0);
  }
  if (alignment == kHugePage) {
    // Only advice: without huge pages the memory is slower.
    static_cast<void>(madvise(data, round_up(bytes, alignment), MADV_HUGEPAGE));
  }
  return Buffer(data, bytes, [](void* memory) { std::free(memory); });
}

absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes) {
  if (bytes < kHugePageFrom) {
    absl::StatusOr<Buffer> buffer = allocate_uninitialized(bytes);
    if (buffer.ok() && bytes > 0) {
      std::memset(buffer->data(), 0, bytes);
    }
    return buffer;
  }
  const std::int64_t available = base::available_memory_bytes();
  if (bytes > SIZE_MAX / 2 || (available >= 0 && bytes > static_cast<std::uint64_t>(available))) {
    return exhausted(bytes, available);
  }
  // Room to align to a huge page; the Mapping stands just before the data.
  const std::size_t mapped_bytes = bytes + 2 * kHugePage;
  void* base = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) {
    return exhausted(bytes, available);
  }
  const auto address = reinterpret_cast<std::uintptr_t>(base);
  auto* data = static_cast<std::byte*>(base) + (round_up(address + sizeof(Mapping), kHugePage) - address);
  const Mapping mapping{base, mapped_bytes};
  std::memcpy(data - sizeof(Mapping), &mapping, sizeof(Mapping));
  static_cast<void>(madvise(data, bytes, MADV_HUGEPAGE));
  return Buffer(data, bytes, [](void* memory) {
    Mapping noted{};
    std::memcpy(&noted, static_cast<std::byte*>(memory) - sizeof(Mapping), sizeof(Mapping));
    munmap(noted.base, noted.bytes);
  });
}

absl::StatusOr<Buffer> allocate_zeroed(std::size_t bytes, int threads) {
  absl::StatusOr<Buffer> buffer = allocate_uninitialized(bytes);
  if (buffer.ok() && bytes > 0) {
    auto* data = static_cast<std::byte*>(buffer->data());
    parallel_for(threads, static_cast<std::int64_t>(bytes), kParallelBytes,
                 [data](std::int64_t begin, std::int64_t end) {
                   std::memset(data + begin, 0, static_cast<std::size_t>(end - begin));
                 });
  }
  return buffer;
}

}  // namespace coppice::kernels::cpu
