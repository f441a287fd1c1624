// Barriers in shared memory, bulk copies and products of warpgroups on the emulator.
#include "tests/simt/hopper.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "tests/simt/half.h"
#include "tests/simt/session.h"

namespace coppice::simt {

namespace {

constexpr std::uint32_t kSumsPoison = 0x7FA5C3D1U;  // a NaN that no arithmetic makes
constexpr std::int32_t kWarpsOfGroup = 4;
constexpr std::int32_t kRowsOfWarp = 16;
constexpr std::int32_t kDepth = 16;
constexpr std::int32_t kPieceElements = 8;

std::uint32_t field(std::uint64_t descriptor, int first_bit) {
  return static_cast<std::uint32_t>(descriptor >> first_bit & 0x3FFFU) << 4;
}

}  // namespace

// PTX ISA, "Asynchronous warpgroup level matrix shared memory layout", K-major: without swizzling, core matrices of
// eight rows of 16 bytes; with 128, 64 or 32 bytes, eight rows of that many, address bits 4 and up exchanged with bits
// 7 and up.
std::uint32_t descriptor_address(std::uint64_t descriptor, std::int32_t row, std::int32_t piece) {
  constexpr std::uint32_t kRowBytes[] = {16, 128, 64, 32};
  const auto mode = static_cast<std::uint32_t>(descriptor >> 62);
  const auto eight = static_cast<std::uint32_t>(row / 8);
  const std::uint32_t along_k =
      static_cast<std::uint32_t>(piece) * (mode == 0 ? field(descriptor, 16) : std::uint32_t{16});
  const std::uint32_t address = field(descriptor, 0) + eight * field(descriptor, 32) +
                                static_cast<std::uint32_t>(row % 8) * kRowBytes[mode] + along_k;
  return address ^ (address >> 7 & (kRowBytes[mode] / 16 - 1)) << 4;
}

Clocks& Hopper::clocks() const {
  SharedMemory& memory = shared();
  if (memory.clocks() == nullptr) {
    memory.start_clocks(static_cast<std::int32_t>(machine_.thread().block->threads.size()));
  }
  return *memory.clocks();
}

// --- barriers ---

void Hopper::initialise(std::int32_t place, std::uint32_t count) {
  const std::int32_t number = clocks().add_barrier();
  shared().write(self(), place, 8);
  Barrier& barrier = barriers_[place];
  barrier = Barrier();
  barrier.number = number;
  barrier.maker = machine_.thread().index;
  barrier.count = count;
  barrier.left = count;
}

void Hopper::publish() {
  for (auto& [place, barrier] : barriers_) {
    barrier.published = barrier.published || barrier.maker == machine_.thread().index;
  }
}

Hopper::Barrier& Hopper::barrier_at(std::int32_t place) {
  const auto found = barriers_.find(place);
  if (found == barriers_.end()) {
    machine_.fail("bad access", "thread " + std::to_string(machine_.thread().index) + " uses a barrier at byte " +
                                    std::to_string(place) + ", which no thread initialised");
  }
  if (!found->second.published) {
    machine_.fail("unpublished barrier", "thread " + std::to_string(machine_.thread().index) +
                                             " uses a barrier without barrier_publish() behind its initialisation");
  }
  if (!shared().is_ordered(self(), place)) {
    machine_.report("shared-memory race",
                    "thread " + std::to_string(machine_.thread().index) + " uses a barrier that was just initialised");
  }
  return found->second;
}

// Ends the phase if everything has come. Copies arrive only if a thread waits, since no other may look.
void Hopper::settle(Barrier& barrier) {
  if (barrier.left > 0) {
    return;
  }
  if (!barrier.waiting.empty()) {
    for (const BulkCopy& copy : barrier.copies) {
      std::memcpy(shared().data(copy.to), copy.from, copy.bytes);
      shared().end_bulk(copy.to, static_cast<std::int32_t>(copy.bytes), barrier.number, barrier.phase);
      barrier.bytes -= copy.bytes;
    }
    barrier.copies.clear();
  }
  if (barrier.bytes != 0 || !barrier.copies.empty()) {
    return;
  }
  barrier.left = barrier.count;
  ++barrier.phase;
  join(barrier.released, barrier.collected);
  barrier.collected.clear();
  for (Thread* thread : barrier.waiting) {
    machine_.wake(*thread);
  }
  barrier.waiting.clear();
}

void Hopper::arrive(std::int32_t place, std::uint32_t bytes) {
  Barrier& barrier = barrier_at(place);
  barrier.bytes += bytes;
  if (barrier.left == 0) {
    machine_.fail("too many arrivals", "thread " + std::to_string(machine_.thread().index) +
                                           " arrives at a barrier that waits for no thread in phase " +
                                           std::to_string(barrier.phase));
  }
  --barrier.left;
  clocks().release(machine_.thread().index, barrier.collected);
  settle(barrier);
}

void Hopper::wait(std::int32_t place, std::uint32_t phase_bit, const Place& where) {
  Barrier& barrier = barrier_at(place);
  Thread& thread = machine_.thread();
  if ((static_cast<std::uint32_t>(barrier.phase) & 1U) == phase_bit) {  // that phase has not ended
    barrier.waiting.push_back(&thread);
    settle(barrier);
    machine_.sleep("barrier_wait", where);
  }
  clocks().acquire(thread.index, barrier.released);
  clocks().note_phases(thread.index, barrier.number, barrier.phase);
}

void Hopper::copy(std::int32_t to, const void* from, std::uint32_t bytes, std::int32_t place) {
  Barrier& barrier = barrier_at(place);
  shared().begin_bulk(self(), to, static_cast<std::int32_t>(bytes));
  barrier.copies.push_back({to, from, bytes});
  machine_.counters().bytes_copied_async += bytes;
  settle(barrier);
}

void Hopper::fence() {
  clocks().fence(machine_.thread().index);
}

// --- products ---

void Hopper::begin_products(std::int32_t warp) {
  warps_[warp].is_begun = true;
}

// The warps of a group need not be at the same product, but must come by the same ones.
void Hopper::compare_products(std::int32_t warp, const Product& product) {
  std::vector<Product>& asked = asked_[warp / kWarpsOfGroup];
  const auto at = static_cast<std::size_t>(warps_[warp].asked);
  if (at == asked.size()) {
    asked.push_back(product);
  } else if (!(asked[at] == product)) {
    machine_.fail("divergent product", "warp " + std::to_string(warp) + " asks for another product number " +
                                           std::to_string(at) + " than the others of its warpgroup");
  }
}

std::int32_t Hopper::offset_of(std::uint32_t address) {
  const std::int64_t offset = std::int64_t{address} - kSharedBase;
  if (!shared().holds(offset, 16)) {
    machine_.fail("bad access",
                  "a product reads 16 bytes at " + std::to_string(offset) + " of shared memory, out of bounds");
  }
  return static_cast<std::int32_t>(offset);
}

void Hopper::note_reads(std::int32_t warp, const Product& product) {
  const Clocks::Knowledge known = clocks().common(warp * kLanes, warp * kLanes + kLanes);
  const std::int32_t number = warps_[warp].asked;
  const std::int32_t row_begin = warp % kWarpsOfGroup * kRowsOfWarp;
  for (std::int32_t piece = 0; piece < 2; ++piece) {
    for (std::int32_t row = row_begin; row < row_begin + kRowsOfWarp; ++row) {
      shared().product_read(warp, number, known, offset_of(descriptor_address(product.a, row, piece)));
    }
    for (std::int32_t row = 0; row < product.columns; ++row) {
      shared().product_read(warp, number, known, offset_of(descriptor_address(product.b, row, piece)));
    }
  }
}

void Hopper::add_product(std::int32_t warp, const Product& product, const std::array<float*, kLanes>& sums) {
  Warp& state = warps_[warp];
  if (((product.a | product.b) >> 49 & 7U) != 0) {
    machine_.fail("bad descriptor", "a base offset: patterns must start at multiples of their size");
  }
  compare_products(warp, product);
  ++state.asked;
  Sums& under_way = state.sums[sums[0]];
  if (under_way.products == 0) {
    if (!state.is_begun) {
      machine_.report("unfenced product", "warp " + std::to_string(warp) +
                                              " starts a product without multiply_begin() after its sums were touched");
    }
    under_way.at = sums;
    under_way.count = product.columns / 2;
    under_way.values.resize(kLanes);
    for (std::size_t lane = 0; lane < sums.size(); ++lane) {
      std::memcpy(under_way.values[lane].data(), sums[lane], static_cast<std::size_t>(under_way.count) * 4);
      std::fill_n(sums[lane], under_way.count, std::bit_cast<float>(kSumsPoison));
    }
  }
  ++under_way.products;
  note_reads(warp, product);
  state.open.push_back({product, sums[0]});
  ++machine_.counters().products;
}

void Hopper::commit_products(std::int32_t warp) {
  Warp& state = warps_[warp];
  state.groups.push_back(std::move(state.open));
  state.open.clear();
}

// Sums run over k in ascending order, in float, as those of multiply_accumulate() (fragment.cc). PTX ISA, "WGMMA D
// fragment layout": rows lane / 4 and 8 more, columns 2 (lane % 4) and the next of every eight.
void Hopper::compute(std::int32_t warp, const Asked& asked) {
  const Product& product = asked.product;
  float a[kRowsOfWarp][kDepth];
  std::vector<float> b(static_cast<std::size_t>(product.columns) * kDepth);  // [k][column]
  const auto to_float = product.is_bf16 ? bf16_to_float : f16_to_float;
  const auto read = [&](std::uint64_t descriptor, std::int32_t row, const auto& take) {
    for (std::int32_t piece = 0; piece < 2; ++piece) {
      std::uint16_t bits[kPieceElements];
      std::memcpy(bits, shared().data(offset_of(descriptor_address(descriptor, row, piece))), sizeof bits);
      for (std::int32_t i = 0; i < kPieceElements; ++i) {
        take(piece * kPieceElements + i, to_float(bits[i]));
      }
    }
  };
  for (std::int32_t row = 0; row < kRowsOfWarp; ++row) {
    read(product.a, warp % kWarpsOfGroup * kRowsOfWarp + row, [&](std::int32_t k, float value) { a[row][k] = value; });
  }
  for (std::int32_t column = 0; column < product.columns; ++column) {
    read(product.b, column,
         [&](std::int32_t k, float value) { b[static_cast<std::size_t>(k * product.columns + column)] = value; });
  }
  Sums& sums = warps_[warp].sums[asked.sums];
  std::vector<float> d(static_cast<std::size_t>(product.columns));
  for (std::int32_t row = 0; row < kRowsOfWarp; ++row) {
    const auto at = [&](std::int32_t column) -> float& {
      const std::int32_t lane = row % 8 * 4 + column % 8 / 2;
      return sums
          .values[static_cast<std::size_t>(lane)][static_cast<std::size_t>(column / 8 * 4 + row / 8 * 2 + column % 2)];
    };
    const bool adds_first = machine_.options().adds_products_first;
    for (std::int32_t column = 0; column < product.columns; ++column) {
      d[static_cast<std::size_t>(column)] = adds_first ? 0.0F : at(column);
    }
    for (std::int32_t k = 0; k < kDepth; ++k) {
      const float* factors = b.data() + k * product.columns;
      for (std::int32_t column = 0; column < product.columns; ++column) {
        d[static_cast<std::size_t>(column)] += a[row][k] * factors[column];
      }
    }
    for (std::int32_t column = 0; column < product.columns; ++column) {
      at(column) = adds_first ? at(column) + d[static_cast<std::size_t>(column)] : d[static_cast<std::size_t>(column)];
    }
  }
}

void Hopper::wait_products(std::int32_t warp, std::size_t groups_left) {
  Warp& state = warps_[warp];
  state.is_begun = false;
  while (state.groups.size() > groups_left) {
    for (const Asked& asked : state.groups.front()) {
      compute(warp, asked);
      ++state.done;
      Sums& sums = state.sums[asked.sums];
      if (--sums.products > 0) {
        continue;
      }
      bool is_touched = false;
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        for (std::int32_t i = 0; i < sums.count; ++i) {
          is_touched = is_touched || std::bit_cast<std::uint32_t>(sums.at[lane][i]) != kSumsPoison;
        }
        std::memcpy(sums.at[lane], sums.values[lane].data(), static_cast<std::size_t>(sums.count) * 4);
      }
      if (is_touched) {
        machine_.report("early write",
                        "warp " + std::to_string(warp) + " wrote sums before it waited for their products");
      }
      state.sums.erase(asked.sums);
    }
    state.groups.pop_front();
  }
  for (std::int32_t lane = 0; lane < kLanes; ++lane) {
    clocks().note_products_done(warp * kLanes + lane, warp, state.done);
  }
}

void Hopper::finish() {
  for (const auto& [place, barrier] : barriers_) {
    if (!barrier.copies.empty()) {
      machine_.report("copy left", "a block ended before a bulk copy that no thread waited for");
    }
  }
  for (const auto& [warp, state] : warps_) {
    if (!state.sums.empty()) {
      machine_.report("product left", "warp " + std::to_string(warp) + " ended before its products");
    }
  }
  for (const auto& [group, asked] : asked_) {
    for (std::int32_t warp = group * kWarpsOfGroup; warp < (group + 1) * kWarpsOfGroup; ++warp) {
      if (warps_[warp].asked != static_cast<std::int32_t>(asked.size())) {
        machine_.report("divergent product", "warp " + std::to_string(warp) + " asked for " +
                                                 std::to_string(warps_[warp].asked) + " products, others for " +
                                                 std::to_string(asked.size()));
      }
    }
  }
}

}  // namespace coppice::simt
