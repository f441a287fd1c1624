// Rows of a weight on their way to a device's own layout of few bits: taken apart as they are stored, or quantised
// here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/formats.h"
#include "kernels/host/convert_body.h"
#include "kernels/host/isa.h"
#include "kernels/quantised_blocks.h"

namespace coppice::kernels {

// Columns of one row, at most kPartColumns: a chunk. Of GGUF's formats `parts` has everything. Of those with scales
// beside the numbers (kInt8 with 128 added, kInt4, kFp8 as it is) it has the bits, and beside it is the one scale, and
// the least, of the chunk; what this machine quantised to kInt4 has both as float16 numbers in `parts` too.
struct QuantisedChunk {
  BlockParts parts;
  float scale = 0;
  float least = 0;
};

// A thread's own.
class QuantisedRowReader {
 public:
  // storage: quantised. isa: of the machine.
  QuantisedRowReader(WeightFormat storage, cpu::Isa isa);

  // Begins with another row; empty: zeros. REQUIRES: the row is stored so, or storage is kInt8 or kInt4.
  void begin(const HostWeight& row);

  // Whether a row so far had numbers that 4 bits with float16 scales cannot hold.
  bool is_beyond_half() const { return is_beyond_half_; }

  // Columns [begin, begin + width); zeros beyond the row's. REQUIRES: width <= kPartColumns; whole blocks, or within a
  // group of those with scales beside them.
  QuantisedChunk chunk(std::int64_t begin, std::int64_t width) const;

 private:
  void take_numbers(std::int64_t begin, std::int64_t count, QuantisedChunk& out) const;
  void quantise(std::int64_t begin, std::int64_t count, QuantisedChunk& out) const;

  WeightFormat storage_;
  const cpu::ConvertBody& convert_;
  HostWeight row_;
  std::vector<float> numbers_;  // of a row that is not stored in the format
  float row_scale_ = 0;
  bool is_beyond_half_ = false;
};

}  // namespace coppice::kernels
