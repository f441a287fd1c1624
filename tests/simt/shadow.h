// A block's shared memory with a shadow that knows, for every two bytes, who touched them last and since which barrier.
// Two accesses of different threads, one of them a write, are a race unless a block barrier lies between, or both
// threads are of one warp and a warp barrier does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace coppice::simt {

// One thread's access, as the shadow sees it.
struct Accessor {
  std::int32_t thread = 0;
  std::int32_t warp = 0;
};

// Called with a kind of defect and what was seen; the run goes on.
using Reporter = std::function<void(const char* kind, const std::string& what)>;

class SharedMemory {
 public:
  SharedMemory(std::int32_t bytes, std::int32_t warps, Reporter report);

  std::int32_t bytes() const { return static_cast<std::int32_t>(data_.size()); }
  std::byte* data(std::int32_t offset) { return data_.data() + offset; }
  bool holds(std::int64_t offset, std::int64_t bytes) const {
    return offset >= 0 && offset + bytes <= static_cast<std::int64_t>(data_.size());
  }

  // REQUIRES: holds(offset, bytes).
  void read(const Accessor& who, std::int32_t offset, std::int32_t bytes);
  void write(const Accessor& who, std::int32_t offset, std::int32_t bytes, bool atomic = false);
  void begin_copy(const Accessor& who, std::int32_t offset, std::int32_t bytes);
  void end_copy(const Accessor& who, std::int32_t offset, std::int32_t bytes);

  void pass_block_barrier() { ++block_epoch_; }
  void pass_warp_barrier(std::int32_t warp) { ++warp_epochs_[static_cast<std::size_t>(warp)]; }

 private:
  static constexpr std::int16_t kNobody = -1;
  static constexpr std::int16_t kMany = -2;
  // Two bytes. Epochs count barriers: those of the block, those of the accessor's warp.
  struct Cell {
    std::int32_t write_block = -1;
    std::int32_t write_warp = 0;
    std::int32_t read_block = -1;
    std::int32_t read_warp = 0;
    std::int16_t writer = kNobody;
    std::int16_t reader = kNobody;       // of the latest warp epoch with a read; kMany: several threads
    std::int16_t reader_warp = kNobody;  // kMany: threads of several warps since the block barrier
    bool atomic = false;                 // the last write was
    bool pending = false;                // an asynchronous copy is on its way
  };

  bool written_unordered(const Cell& cell, const Accessor& who) const;
  bool read_unordered(const Cell& cell, const Accessor& who) const;
  void note_write(Cell& cell, const Accessor& who, bool atomic);
  void report_race(const char* what, const Accessor& who, std::int32_t other, std::size_t cell);

  std::vector<std::byte> data_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> warp_epochs_;
  std::int32_t block_epoch_ = 0;
  Reporter report_;
};

}  // namespace coppice::simt
