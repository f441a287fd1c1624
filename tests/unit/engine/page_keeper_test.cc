// The order in which sequences that share pages stand side by side, against the definition, for random page trees.
#include "engine/page_keeper.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

#include "base/random.h"
#include "base/slot_table.h"
#include "engine/kv_pool.h"

namespace coppice::engine {
namespace {

using PageTables = base::SlotTable<PageTable>;

// For every k, those with the same first k pages are contiguous.
void require_contiguous(const SharingOrder& order, const PageTables& tables) {
  std::set<std::vector<PageId>> closed;
  std::vector<PageId> before;
  for (const SharingOrder::Entry& entry : order.entries()) {
    const std::span<const PageId> pages = tables[entry.slot].ids();
    const auto common = static_cast<std::size_t>(
        std::mismatch(before.begin(), before.begin() + std::min(before.size(), pages.size()), pages.begin()).first -
        before.begin());
    for (std::size_t k = common + 1; k <= before.size(); ++k) {
      closed.insert({before.begin(), before.begin() + static_cast<std::ptrdiff_t>(k)});
    }
    for (std::size_t k = 1; k <= pages.size(); ++k) {
      REQUIRE_FALSE(closed.contains({pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(k)}));
    }
    REQUIRE(static_cast<std::size_t>(entry.shared_pages) == common);
    before.assign(pages.begin(), pages.end());
  }
}

class RandomTrees {
 public:
  explicit RandomTrees(std::uint64_t seed)
      : seed_(seed), pool_(4096, 16), order_([this](SequenceSlot slot) { return tables_[slot].ids(); }) {}
  ~RandomTrees() {
    while (!live_.empty()) {
      remove(0);
    }
  }

  void change() {
    if (live_.size() < 40 && (live_.empty() || random(3) != 0)) {
      insert();
    } else if (random(2) == 0) {
      tables_[live_[random(static_cast<std::uint32_t>(live_.size()))]].append(pool_.allocate());
    } else {
      remove(random(static_cast<std::uint32_t>(live_.size())));
    }
    require_contiguous(order_, tables_);
    order_.check_integrity();
  }

 private:
  std::uint32_t random(std::uint32_t bound) { return base::philox4x32(seed_, ++draws_, 3)[0] % bound; }

  // Shares a random part of a random other's pages, then goes its own way.
  void insert() {
    const SequenceSlot slot = tables_.take();
    PageTable& table = tables_[slot];
    table = PageTable(pool_);
    if (!live_.empty()) {
      const PageTable& other = tables_[live_[random(static_cast<std::uint32_t>(live_.size()))]];
      const auto shared = static_cast<std::int32_t>(random(static_cast<std::uint32_t>(other.size()) + 1));
      for (std::int32_t i = 0; i < shared; ++i) {
        table.append(pool_.share(other[i]));
      }
    }
    for (std::uint32_t i = random(3) + 1; i > 0; --i) {
      table.append(pool_.allocate());
    }
    order_.insert(slot);
    live_.push_back(slot);
  }

  void remove(std::size_t index) {
    order_.remove(live_[index]);
    tables_[live_[index]].truncate(0);
    tables_.release(live_[index]);
    live_.erase(live_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  const std::uint64_t seed_;
  std::uint64_t draws_ = 0;
  KvPool pool_;
  PageTables tables_;
  SharingOrder order_;
  std::vector<SequenceSlot> live_;
};

}  // namespace

TEST_CASE("sharers stand side by side whatever comes, grows and goes", "[order]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomTrees trees(seed);
    for (int i = 0; i < 150; ++i) {
      trees.change();
    }
  }
}

}  // namespace coppice::engine
