// Races, reads of nothing and reads of copies that are still on their way.
#include "tests/simt/shadow.h"

#include <cstring>
#include <utility>

namespace coppice::simt {
namespace {

constexpr std::int32_t kCellBytes = 2;
constexpr std::int32_t kPieceBytes = 16;
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

void SharedMemory::pass_block_barrier() {
  ++block_epoch_;
  if (clocks_ != nullptr) {
    clocks_->meet(0, static_cast<std::int32_t>(warp_epochs_.size()) * 32);
  }
}

void SharedMemory::pass_warp_barrier(std::int32_t warp) {
  ++warp_epochs_[static_cast<std::size_t>(warp)];
  if (clocks_ != nullptr) {
    clocks_->meet(warp * 32, warp * 32 + 32);
  }
}

bool SharedMemory::written_unordered(const Cell& cell, const Accessor& who) const {
  if (cell.writer == kBulk) {
    return clocks_->phases_known(clocks_->of(who.thread), cell.write_warp) <= cell.write_time;
  }
  if (cell.writer == kNoThread || cell.writer == who.thread || cell.write_block != block_epoch_) {
    return false;
  }
  if (clocks_ != nullptr && clocks_->knows(clocks_->of(who.thread), cell.writer, cell.write_time)) {
    return false;
  }
  return cell.writer / 32 != who.warp || cell.write_warp == warp_epochs_[static_cast<std::size_t>(who.warp)];
}

bool SharedMemory::read_unordered(const Cell& cell, const Accessor& who) const {
  if (cell.read_block != block_epoch_) {
    return false;
  }
  if (clocks_ != nullptr && cell.reader >= 0 && cell.reader_warp >= 0 &&
      clocks_->knows(clocks_->of(who.thread), cell.reader, cell.read_time)) {
    return false;
  }
  if (cell.reader_warp != who.warp) {
    return true;  // several warps, or another one
  }
  return cell.read_warp == warp_epochs_[static_cast<std::size_t>(who.warp)] && cell.reader != who.thread;
}

void SharedMemory::report_race(const char* what, const Accessor& who, std::int32_t other, std::size_t cell) {
  const std::string others = other == kMany   ? "several threads"
                             : other == kBulk ? "a bulk copy"
                                              : "thread " + std::to_string(other);
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
    } else if (cell.writer == kNoThread) {
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
      cell.read_time = time_of(who);
    } else if (cell.reader_warp != who.warp) {
      cell.reader_warp = kMany;
    } else if (cell.read_warp != warp_epoch) {
      cell.read_warp = warp_epoch;
      cell.reader = static_cast<std::int16_t>(who.thread);
      cell.read_time = time_of(who);
    } else if (cell.reader != who.thread) {
      cell.reader = kMany;
    } else {
      cell.read_time = time_of(who);
    }
  }
}

void SharedMemory::note_write(Cell& cell, const Accessor& who, bool atomic) {
  cell.writer = static_cast<std::int16_t>(who.thread);
  cell.write_block = block_epoch_;
  cell.write_warp = warp_epochs_[static_cast<std::size_t>(who.warp)];
  cell.write_time = time_of(who);
  cell.atomic = atomic;
}

void SharedMemory::write(const Accessor& who, std::int32_t offset, std::int32_t bytes, bool atomic) {
  check_products(who, offset, bytes);
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    Cell& cell = cells_[i];
    if (cell.pending) {
      report_("early write", "thread " + std::to_string(who.thread) + " writes byte " + std::to_string(i * kCellBytes) +
                                 " of shared memory before its asynchronous copy was waited for");
      cell.pending = false;
    } else if (atomic && cell.writer == kNoThread) {
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

// --- barriers in shared memory, bulk copies, products ---

void SharedMemory::start_clocks(std::int32_t threads) {
  clocks_ = std::make_unique<Clocks>(threads);
}

bool SharedMemory::is_ordered(const Accessor& who, std::int32_t offset) {
  const Cell& cell = cells_[first_cell(offset)];
  return cell.writer != kNoThread && !written_unordered(cell, who);
}

void SharedMemory::check_products(const Accessor& who, std::int32_t offset, std::int32_t bytes) {
  const std::size_t warps = warp_epochs_.size();
  if (product_reads_.empty()) {
    return;
  }
  for (std::int32_t piece = offset / kPieceBytes; piece <= (offset + bytes - 1) / kPieceBytes; ++piece) {
    for (std::size_t warp = 0; warp < warps; ++warp) {
      const std::int32_t number = product_reads_[static_cast<std::size_t>(piece) * warps + warp];
      if (clocks_->products_known(clocks_->of(who.thread), static_cast<std::int32_t>(warp)) < number) {
        report_("shared-memory race", "thread " + std::to_string(who.thread) + " writes byte " +
                                          std::to_string(piece * kPieceBytes) + ", which a product of warp " +
                                          std::to_string(warp) + " may still read");
        return;
      }
    }
  }
}

void SharedMemory::begin_bulk(const Accessor& who, std::int32_t offset, std::int32_t bytes) {
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    const Cell& cell = cells_[i];
    if (cell.writer >= 0 && !clocks_->knows_fenced(clocks_->of(who.thread), cell.writer, cell.write_time)) {
      report_("missing proxy fence", "a bulk copy over byte " + std::to_string(i * kCellBytes) + ", which thread " +
                                         std::to_string(cell.writer) + " wrote without a fence behind it");
      break;
    }
  }
  begin_copy(who, offset, bytes);
}

void SharedMemory::end_bulk(std::int32_t offset, std::int32_t bytes, std::int32_t barrier, std::int32_t phase) {
  for (std::size_t i = first_cell(offset); i < end_cell(offset, bytes); ++i) {
    Cell& cell = cells_[i];
    cell.pending = false;
    cell.writer = kBulk;
    cell.write_warp = barrier;
    cell.write_time = phase;
    cell.atomic = false;
  }
}

void SharedMemory::product_read(std::int32_t warp, std::int32_t number, const Clocks::Knowledge& known,
                                std::int32_t offset) {
  const std::size_t warps = warp_epochs_.size();
  if (product_reads_.empty()) {
    product_reads_.assign((data_.size() + kPieceBytes - 1) / kPieceBytes * warps, 0);
  }
  product_reads_[static_cast<std::size_t>(offset / kPieceBytes) * warps + static_cast<std::size_t>(warp)] = number;
  const auto complain = [&](const char* kind, const std::string& what) {
    report_(kind, "a product of warp " + std::to_string(warp) + " reads byte " + std::to_string(offset) + what);
  };
  for (std::size_t i = first_cell(offset); i < end_cell(offset, kPieceBytes); ++i) {
    const Cell& cell = cells_[i];
    if (cell.pending) {
      return complain("early read", " before its asynchronous copy was waited for");
    }
    if (cell.writer == kNoThread) {
      return complain("read of nothing", ", which nothing was written to");
    }
    if (cell.writer == kBulk) {
      if (clocks_->phases_known(known, cell.write_warp) <= cell.write_time) {
        return complain("shared-memory race", ", whose bulk copy not all of its lanes have waited for");
      }
      continue;
    }
    if (cell.write_block == block_epoch_ && !clocks_->knows(known, cell.writer, cell.write_time)) {
      return complain("shared-memory race", ", just written by thread " + std::to_string(cell.writer));
    }
    if (!clocks_->knows_fenced(known, cell.writer, cell.write_time)) {
      return complain("missing proxy fence",
                      ", which thread " + std::to_string(cell.writer) + " wrote without a fence behind it");
    }
  }
}

}  // namespace coppice::simt
