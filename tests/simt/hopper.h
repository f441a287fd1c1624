// What a block does with Hopper's asynchronous parts on the emulator: barriers in shared memory, bulk copies, products
// of warpgroups. Everything happens as late as it may: a bulk copy's bytes arrive when its phase could end and a thread
// waits for that, a product is computed when it is waited for, and until then its sums are a value that no product has.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "tests/simt/machine.h"

namespace coppice::simt {

// Where shared memory begins in its own address space, which descriptors name places in.
inline constexpr std::uint32_t kSharedBase = 1024;

// A product as all lanes of a warp ask for it: 64 x columns over 16 columns of K.
struct Product {
  std::uint64_t a = 0;  // descriptors (PTX ISA, "Matrix Descriptor Format")
  std::uint64_t b = 0;
  std::int32_t columns = 0;
  bool is_bf16 = true;
  bool operator==(const Product&) const = default;
};

// 16-byte piece `piece` (0 or 1) of row `row` of a matrix that lies as its descriptor says: its address.
std::uint32_t descriptor_address(std::uint64_t descriptor, std::int32_t row, std::int32_t piece);

// One block's. Called on its threads' fibers.
class Hopper {
 public:
  explicit Hopper(Machine& machine) : machine_(machine) {}

  // `place`: of eight bytes in shared memory, aligned.
  void initialise(std::int32_t place, std::uint32_t count);
  void publish();
  void arrive(std::int32_t place, std::uint32_t bytes);
  void wait(std::int32_t place, std::uint32_t phase_bit, const Place& where);
  void copy(std::int32_t to, const void* from, std::uint32_t bytes, std::int32_t place);
  void fence();

  // By a whole warp; `sums`: of its lanes, columns / 2 numbers each.
  void begin_products(std::int32_t warp);
  void add_product(std::int32_t warp, const Product& product, const std::array<float*, kLanes>& sums);
  void commit_products(std::int32_t warp);
  void wait_products(std::int32_t warp, std::size_t groups_left);

  // What a block's end finds undone.
  void finish();

 private:
  static constexpr std::int32_t kSumsMax = 128;

  struct BulkCopy {
    std::int32_t to = 0;
    const void* from = nullptr;
    std::uint32_t bytes = 0;
  };
  struct Barrier {
    std::int32_t number = 0;
    std::int32_t maker = 0;  // thread
    bool published = false;
    std::int64_t count = 0;
    std::int64_t left = 0;   // arrivals of this phase to come
    std::int64_t bytes = 0;  // announced, not arrived
    std::int32_t phase = 0;  // phases that have ended
    std::vector<BulkCopy> copies;
    std::vector<Thread*> waiting;
    Clocks::Knowledge collected;  // of this phase
    Clocks::Knowledge released;   // of ended ones
  };
  // The sums of products under way: what they were, and how many products will change them.
  struct Sums {
    std::array<float*, kLanes> at = {};
    std::vector<std::array<float, kSumsMax>> values;
    std::int32_t count = 0;
    std::int32_t products = 0;
  };
  struct Asked {
    Product product;
    float* sums = nullptr;  // of lane 0: names an entry of `sums`
  };
  struct Warp {
    std::vector<Asked> open;
    std::deque<std::vector<Asked>> groups;
    std::map<float*, Sums> sums;
    std::int32_t asked = 0;
    std::int32_t done = 0;
    bool is_begun = false;
  };

  SharedMemory& shared() const { return *machine_.thread().block->shared; }
  Clocks& clocks() const;  // started when first asked for
  Accessor self() const { return {machine_.thread().index, machine_.thread().warp()}; }
  Barrier& barrier_at(std::int32_t place);
  void settle(Barrier& barrier);
  void compare_products(std::int32_t warp, const Product& product);
  void note_reads(std::int32_t warp, const Product& product);
  void compute(std::int32_t warp, const Asked& asked);
  std::int32_t offset_of(std::uint32_t address);

  Machine& machine_;
  std::map<std::int32_t, Barrier> barriers_;
  std::map<std::int32_t, Warp> warps_;
  std::map<std::int32_t, std::vector<Product>> asked_;  // by warpgroup, in order
};

}  // namespace coppice::simt
