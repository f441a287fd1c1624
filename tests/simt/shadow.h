// A block's shared memory with a shadow that knows, for every two bytes, who touched them last and since which barrier.
// Two accesses of different threads, one of them a write, are a race unless a block barrier lies between, or both
// threads are of one warp and a warp barrier does.
//
// In a block with barriers in shared memory (hopper.h) clocks say more: an access that the other thread's barriers
// handed over is ordered too, products of a warpgroup and bulk copies are accessors of their own, and what a thread
// wrote must be fenced before either of those two reads or overwrites it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/simt/clock.h"

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

  void pass_block_barrier();
  void pass_warp_barrier(std::int32_t warp);

  // --- in a block with barriers in shared memory ---
  void start_clocks(std::int32_t threads);
  Clocks* clocks() { return clocks_.get(); }  // null: none have been started
  // A word of shared memory that only barriers' own operations touch: whether it may be used by `who`.
  bool is_ordered(const Accessor& who, std::int32_t offset);
  // A bulk copy, asked for by `who`, that belongs to phase `phase` of barrier `barrier`.
  void begin_bulk(const Accessor& who, std::int32_t offset, std::int32_t bytes);
  void end_bulk(std::int32_t offset, std::int32_t bytes, std::int32_t barrier, std::int32_t phase);
  // Product number `number` (from 1) of `warp` reads 16 bytes, from now until its warp knows that it is done.
  // `known`: what all lanes of the warp know.
  void product_read(std::int32_t warp, std::int32_t number, const Clocks::Knowledge& known, std::int32_t offset);

 private:
  static constexpr std::int16_t kNoThread = -1;
  static constexpr std::int16_t kMany = -2;
  static constexpr std::int16_t kBulk = -3;  // as a writer: write_warp is the barrier's number, write_time the phase
  // Two bytes. Epochs count barriers: those of the block, those of the accessor's warp.
  struct Cell {
    std::int32_t write_block = -1;
    std::int32_t write_warp = 0;
    std::int32_t read_block = -1;
    std::int32_t read_warp = 0;
    std::int32_t write_time = 0;  // by the clocks
    std::int32_t read_time = 0;
    std::int16_t writer = kNoThread;
    std::int16_t reader = kNoThread;       // of the latest warp epoch with a read; kMany: several threads
    std::int16_t reader_warp = kNoThread;  // kMany: threads of several warps since the block barrier
    bool atomic = false;                   // the last write was
    bool pending = false;                  // an asynchronous copy is on its way
  };

  bool written_unordered(const Cell& cell, const Accessor& who) const;
  bool read_unordered(const Cell& cell, const Accessor& who) const;
  void note_write(Cell& cell, const Accessor& who, bool atomic);
  std::int32_t time_of(const Accessor& who) const { return clocks_ == nullptr ? 0 : clocks_->time(who.thread); }
  void check_products(const Accessor& who, std::int32_t offset, std::int32_t bytes);
  void report_race(const char* what, const Accessor& who, std::int32_t other, std::size_t cell);

  std::vector<std::byte> data_;
  std::vector<Cell> cells_;
  std::vector<std::int32_t> warp_epochs_;
  std::int32_t block_epoch_ = 0;
  std::unique_ptr<Clocks> clocks_;
  std::vector<std::int32_t> product_reads_;  // [16-byte pieces][warps] number of the last product that read it
  Reporter report_;
};

}  // namespace coppice::simt
