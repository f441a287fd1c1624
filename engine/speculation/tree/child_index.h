// ChildIndex: which node is the child of a node by a token, for all nodes of a suffix tree in one open-addressing hash
// table of eight bytes a slot. Growth is spread over later insertions (a few slots each), so no call stalls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/check.h"

namespace coppice::engine {

// Holds (hash, node) pairs. The caller decides whether a node with the right hash is the right one.
// Owner and thread: one, the same.
class ChildIndex {
 public:
  static constexpr std::uint32_t kNone = 0;  // no node has this number

  static std::uint32_t hash(std::uint32_t parent, std::int32_t token) {
    // Multiply and fold twice: parents and tokens are small consecutive numbers. The factors are odd 64-bit constants
    // with well-mixed bits (2^64 / golden ratio; the factor of degski's hash).
    std::uint64_t mixed = (std::uint64_t{parent} << 32 | static_cast<std::uint32_t>(token)) * 0x9E3779B97F4A7C15ULL;
    mixed = (mixed ^ (mixed >> 32)) * 0xD6E8FEB86659FD93ULL;
    return static_cast<std::uint32_t>(mixed >> 32);
  }

  // The node with this hash for which `is_it(node)` holds, or kNone.
  template <typename IsIt>
  std::uint32_t find(std::uint32_t hash, const IsIt& is_it) const {
    const std::uint32_t found = find_in(table_, hash, is_it);
    return found != kNone || old_.capacity == 0 ? found : find_in(old_, hash, is_it);
  }

  // REQUIRES: the node is not in the index; hash is of its key.
  void insert(std::uint32_t hash, std::uint32_t node) {
    if (old_.capacity != 0) {
      migrate(kMigratePerInsert);
    } else if ((table_.filled + 1) * 5 > table_.capacity * 4) {
      grow();
    }
    place(hash, node);
  }

  // REQUIRES: the node is in the index under this hash.
  void erase(std::uint32_t hash, std::uint32_t node) {
    const auto same = [node](std::uint32_t other) { return other == node; };
    if (!erase_in(table_, hash, same)) {
      COPPICE_CHECK(old_.capacity != 0 && erase_in(old_, hash, same), "an erased node is in the index");
    }
    --live_;
  }

  void replace(std::uint32_t hash, std::uint32_t node, std::uint32_t replacement) {
    const auto same = [node](std::uint32_t other) { return other == node; };
    Slot* slot = slot_of(table_, hash, same);
    slot = slot != nullptr ? slot : slot_of(old_, hash, same);
    COPPICE_CHECK(slot != nullptr, "a replaced node is in the index");
    slot->node = replacement;
  }

  // For many look-ups at once: prefetch() all slots, then what first() names, then find().
  void prefetch(std::uint32_t hash) const {
    if (table_.capacity != 0) {
      __builtin_prefetch(&table_.slots.get()[home(table_, hash)]);
    }
  }
  // The node that find() would look at first, or kNone: a hint.
  std::uint32_t first(std::uint32_t hash) const {
    if (table_.capacity == 0) {
      return kNone;
    }
    const Slot& slot = table_.slots.get()[home(table_, hash)];
    return slot.hash == hash && slot.node != kGone ? slot.node : kNone;
  }

  std::size_t size() const { return live_; }
  // Without the old table while the index grows.
  std::size_t bytes() const { return table_.capacity * sizeof(Slot); }

 private:
  static constexpr std::uint32_t kGone = 0xFFFFFFFFU;   // was there: probing goes on
  static constexpr std::size_t kFirstCapacity = 64;     // slots: 512 bytes for the smallest tree
  static constexpr std::size_t kMigratePerInsert = 16;  // old slots: the old table is empty long before the next growth

  struct Slot {
    std::uint32_t node;
    std::uint32_t hash;
  };
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  struct Table {
    std::unique_ptr<Slot, Free> slots;
    std::size_t capacity = 0;
    std::size_t filled = 0;  // slots that are not empty, those gone included
  };

  // The high bits of hash * capacity: any capacity will do, not only powers of two.
  static std::size_t home(const Table& table, std::uint32_t hash) {
    return static_cast<std::size_t>(std::uint64_t{hash} * table.capacity >> 32);
  }
  static std::size_t next(const Table& table, std::size_t at) { return at + 1 == table.capacity ? 0 : at + 1; }

  template <typename IsIt>
  static Slot* slot_of(const Table& table, std::uint32_t hash, const IsIt& is_it) {
    if (table.capacity == 0) {
      return nullptr;
    }
    Slot* slots = table.slots.get();
    for (std::size_t at = home(table, hash); slots[at].node != kNone; at = next(table, at)) {
      if (slots[at].hash == hash && slots[at].node != kGone && is_it(slots[at].node)) {
        return &slots[at];
      }
    }
    return nullptr;
  }
  template <typename IsIt>
  static std::uint32_t find_in(const Table& table, std::uint32_t hash, const IsIt& is_it) {
    const Slot* slot = slot_of(table, hash, is_it);
    return slot == nullptr ? kNone : slot->node;
  }
  template <typename IsIt>
  static bool erase_in(Table& table, std::uint32_t hash, const IsIt& is_it) {
    Slot* slot = slot_of(table, hash, is_it);
    if (slot == nullptr) {
      return false;
    }
    const Slot* slots = table.slots.get();
    if (slots[next(table, static_cast<std::size_t>(slot - slots))].node == kNone) {
      slot->node = kNone;  // nothing is probed past it
      --table.filled;
    } else {
      slot->node = kGone;
    }
    return true;
  }

  void place(std::uint32_t hash, std::uint32_t node) {
    Slot* slots = table_.slots.get();
    std::size_t at = home(table_, hash);
    while (slots[at].node != kNone && slots[at].node != kGone) {
      at = next(table_, at);
    }
    table_.filled += slots[at].node == kNone ? 1 : 0;
    slots[at] = {node, hash};
    ++live_;
  }

  void grow() {
    // A table full of slots that are gone is replaced by one of the same size.
    const std::size_t capacity = table_.capacity == 0          ? kFirstCapacity
                                 : live_ * 2 > table_.capacity ? table_.capacity + table_.capacity / 2
                                                               : table_.capacity;
    old_ = std::move(table_);
    table_ = Table{};
    // calloc hands out large tables as pages that the kernel zeroes when they are first touched: no long pause here.
    table_.slots.reset(static_cast<Slot*>(std::calloc(capacity, sizeof(Slot))));
    COPPICE_CHECK(table_.slots != nullptr, "memory for a suffix tree's index");
    table_.capacity = capacity;
    migrated_ = 0;
    if (old_.capacity != 0) {
      migrate(kMigratePerInsert);
    }
  }

  void migrate(std::size_t count) {
    Slot* slots = old_.slots.get();
    for (; count > 0 && migrated_ < old_.capacity; --count, ++migrated_) {
      Slot& slot = slots[migrated_];
      if (slot.node != kNone && slot.node != kGone) {
        place(slot.hash, slot.node);
        --live_;
        slot.node = kGone;
      }
    }
    if (migrated_ == old_.capacity) {
      old_ = Table{};
    }
  }

  Table table_;
  Table old_;  // what is not yet in table_, while it grows
  std::size_t migrated_ = 0;
  std::size_t live_ = 0;  // nodes in the index
};

}  // namespace coppice::engine
