// Fragment layouts, written down from the PTX manual's tables.
#include "tests/simt/fragment.h"

#include <cstring>

#include "tests/simt/half.h"

namespace coppice::simt {
namespace {

constexpr std::int32_t kRows = 16;
constexpr std::int32_t kColumns = 8;
constexpr std::int32_t kDepth = 16;
constexpr std::int32_t kTile = 8;             // of a loaded matrix
constexpr std::int32_t kBankGroupBytes = 16;  // a row of a matrix; eight of them fill all 32 banks

std::int32_t group_of(std::size_t lane) {
  return static_cast<std::int32_t>(lane / 4);
}
std::int32_t pair_of(std::size_t lane) {
  return static_cast<std::int32_t>(lane % 4);
}

// How often the eight rows must take turns at the banks.
std::int32_t passes(const std::int32_t (&offsets)[kTile]) {
  std::int32_t worst = 1;
  std::int32_t hits[kTile] = {};
  for (std::int32_t i = 0; i < kTile; ++i) {
    bool again = false;
    for (std::int32_t j = 0; j < i; ++j) {
      again = again || offsets[j] == offsets[i];
    }
    const std::int32_t count = again ? 0 : ++hits[offsets[i] / kBankGroupBytes % kTile];
    worst = count > worst ? count : worst;
  }
  return worst;
}

template <float (*to_float)(std::uint16_t)>
void multiply(const std::array<void*, kLanes>& lanes) {
  float a[kRows][kDepth];
  float b[kDepth][kColumns];
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    const auto& given = *static_cast<const ProductLane*>(lanes[lane]);
    for (std::int32_t i = 0; i < 4; ++i) {  // word i: row group or group + 8, columns 2 pair or 2 pair + 8
      const std::int32_t row = group_of(lane) + (i % 2) * 8;
      const std::int32_t column = 2 * pair_of(lane) + (i / 2) * 8;
      a[row][column] = to_float(static_cast<std::uint16_t>(given.a[i] & 0xFFFFU));
      a[row][column + 1] = to_float(static_cast<std::uint16_t>(given.a[i] >> 16));
    }
    for (std::int32_t i = 0; i < 2; ++i) {
      const std::int32_t row = 2 * pair_of(lane) + i * 8;
      b[row][group_of(lane)] = to_float(static_cast<std::uint16_t>(given.b[i] & 0xFFFFU));
      b[row + 1][group_of(lane)] = to_float(static_cast<std::uint16_t>(given.b[i] >> 16));
    }
  }
  float d[kRows][kColumns];
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    for (std::int32_t i = 0; i < 4; ++i) {
      d[group_of(lane) + i / 2 * 8][2 * pair_of(lane) + i % 2] = static_cast<const ProductLane*>(lanes[lane])->d[i];
    }
  }
  for (std::int32_t row = 0; row < kRows; ++row) {
    for (std::int32_t k = 0; k < kDepth; ++k) {
      for (std::int32_t column = 0; column < kColumns; ++column) {
        d[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
    for (std::int32_t i = 0; i < 4; ++i) {
      static_cast<const ProductLane*>(lanes[lane])->d[i] = d[group_of(lane) + i / 2 * 8][2 * pair_of(lane) + i % 2];
    }
  }
}

}  // namespace

void load_matrices(Machine& machine, const std::array<void*, kLanes>& lanes, bool transposed) {
  SharedMemory& shared = *machine.thread().block->shared;
  ++machine.counters().matrix_loads;
  for (std::size_t matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t tile[kTile][kTile];
    std::int32_t offsets[kTile];
    for (std::size_t row = 0; row < kTile; ++row) {
      offsets[row] = static_cast<const MatrixRow*>(lanes[matrix * kTile + row])->offset;
      std::memcpy(tile[row], shared.data(offsets[row]), sizeof tile[row]);
    }
    machine.counters().matrix_load_conflicts += passes(offsets) - 1;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane) {
      const std::int32_t row = group_of(lane);
      const std::int32_t column = 2 * pair_of(lane);
      const std::uint32_t first = transposed ? tile[column][row] : tile[row][column];
      const std::uint32_t second = transposed ? tile[column + 1][row] : tile[row][column + 1];
      static_cast<const MatrixRow*>(lanes[lane])->out[matrix] = first | second << 16;
    }
  }
}

void multiply_16x8x16(const std::array<void*, kLanes>& lanes, bool is_bf16) {
  if (is_bf16) {
    multiply<bf16_to_float>(lanes);
  } else {
    multiply<f16_to_float>(lanes);
  }
}

}  // namespace coppice::simt
