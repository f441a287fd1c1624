// Races, reads of nothing and reads of copies that are still on their way.
#include "tests/simt/shadow.h"

#include <cstring>
#include <utility>

namespace coppice::simt {
namespace {

constexpr std::int32_t kCellBytes = 2;
constexpr int kPoison = 0xFF;  // a NaN in every type

std::size_t first_cell(std::int32_t offset) {
  return static_cast<std::size_t>(offset / kCellBytes);
}
std::size_t end_cell(std::int32_t offset, std::int32_t bytes) {
  return static_cast<std::size_t>((offset + bytes + kCellBytes - 1) / kCellBytes);
}

}  // namespace

SharedMemory::SharedMemory(std::int32_t bytes, std::int32_t warps, Reporter report)
    : data_(static_cast<std::size_t>(bytes)),
      cells_(static_cast<std::size_t>((bytes + kCellBytes - 1) / kCellBytes)),
      warp_epochs_(static_cast<std::size_t>(warps), 0),
      report_(std::move(report)) {
  if (bytes > 0) {
    std::memset(data_.data(), kPoison, data_.size());
  }
}

bool SharedMemory::written_unordered(const Cell& cell, const Accessor& who) const {
  if (cell.writer == kNobody || cell.writer == who.thread || cell.write_block != block_epoch_) {
    return false;
  }
  return cell.writer / 32 != who.warp || cell.write_warp == warp_epochs_[static_cast<std::size_t>(who.warp)];
}

bool SharedMemory::read_unordered(const Cell& cell, const Accessor& who) const {
  if (cell.read_block != block_epoch_) {
    return false;
  }
  if (cell.reader_warp != who.warp) {
    return true;  // several warps, or another one
  }
  return cell.read_warp == warp_epochs_[static_cast<std::size_t>(who.warp)] && cell.reader != who.thread;
}

void SharedMemory::report_race(const char* what, const Accessor& who, std::int32_t other, std::size_t cell) {
  const std::string others = other == kMany ? "several threads" : "thread " + std::to_string(other);
  report_("shared-memory race", "thread " + std::to_string(who.thread) + " " + what + " " + others + ", byte " +
                                    std::to_string(cell * kCellBytes) + ", after block barrier " +
                                    std::to_string(block_epoch_));
}

void SharedMemory::read(const Accessor& who, std::int32_t offset, std::int32_t bytes) {
  const std::int32_t warp_epoch = warp_epochs_[static_cast<std::size_t>(who.warp)];
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    Cell& cell = cells_[i];
    if (cell.pending) {
      report_("early read", "thread " + std::to_string(who.thread) + " reads byte " + std::to_string(i * kCellBytes) +
                                " of shared memory before its asynchronous copy was waited for");
      cell.pending = false;
    } else if (cell.writer == kNobody) {
      report_("read of nothing", "thread " + std::to_string(who.thread) + " reads byte " +
                                     std::to_string(i * kCellBytes) +
                                     " of shared memory, which nothing was written to");
    } else if (written_unordered(cell, who)) {
      report_race("reads what was just written by", who, cell.writer, i);
    }
    if (cell.read_block != block_epoch_) {
      cell.read_block = block_epoch_;
      cell.reader_warp = static_cast<std::int16_t>(who.warp);
      cell.read_warp = warp_epoch;
      cell.reader = static_cast<std::int16_t>(who.thread);
    } else if (cell.reader_warp != who.warp) {
      cell.reader_warp = kMany;
    } else if (cell.read_warp != warp_epoch) {
      cell.read_warp = warp_epoch;
      cell.reader = static_cast<std::int16_t>(who.thread);
    } else if (cell.reader != who.thread) {
      cell.reader = kMany;
    }
  }
}

void SharedMemory::note_write(Cell& cell, const Accessor& who, bool atomic) {
  cell.writer = static_cast<std::int16_t>(who.thread);
  cell.write_block = block_epoch_;
  cell.write_warp = warp_epochs_[static_cast<std::size_t>(who.warp)];
  cell.atomic = atomic;
}

void SharedMemory::write(const Accessor& who, std::int32_t offset, std::int32_t bytes, bool atomic) {
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    Cell& cell = cells_[i];
    if (cell.pending) {
      report_("early write", "thread " + std::to_string(who.thread) + " writes byte " + std::to_string(i * kCellBytes) +
                                 " of shared memory before its asynchronous copy was waited for");
      cell.pending = false;
    } else if (atomic && cell.writer == kNobody) {
      report_("read of nothing", "thread " + std::to_string(who.thread) + " updates byte " +
                                     std::to_string(i * kCellBytes) +
                                     " of shared memory, which nothing was written to");
    } else if (!(atomic && cell.atomic) && written_unordered(cell, who)) {
      report_race("writes over what was just written by", who, cell.writer, i);
    } else if (read_unordered(cell, who)) {
      report_race("writes what was just read by", who, cell.reader_warp == kMany ? kMany : cell.reader, i);
    }
    note_write(cell, who, atomic);
  }
}

void SharedMemory::begin_copy(const Accessor& who, std::int32_t offset, std::int32_t bytes) {
  write(who, offset, bytes);  // it may arrive at any time from now on
  std::memset(data(offset), kPoison, static_cast<std::size_t>(bytes));
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    cells_[i].pending = true;
  }
}

void SharedMemory::end_copy(const Accessor& who, std::int32_t offset, std::int32_t bytes) {
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    cells_[i].pending = false;
    note_write(cells_[i], who, false);
  }
}

}  // namespace coppice::simt
