// A walk over every state of the trie that some text can reach.
#include "text/tokenizer/charsmap_check.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fmt/format.h"
#include "text/tokenizer/charsmap.h"

namespace coppice::text {
namespace {

constexpr std::size_t kUnitBytes = 4;                    // of the trie
constexpr std::size_t kUnitsMax = std::size_t{1} << 20;  // 4 MiB; NFKC's trie has some 60,000 units
constexpr std::size_t kSymbols = 256;                    // a state is left by a byte
constexpr std::size_t kReplacementBytesMax = 256;        // NFKC's longest has 33; bounds how much text can grow
constexpr int kMatchesMax = 32;                          // that the library has room for, of keys that begin a text

using Unit = CharsmapUnit;

// Goes through the states depth first. One check, one thread.
class TrieWalk {
 public:
  TrieWalk(std::string_view trie, std::string_view replacements)
      : units_(trie.size() / kUnitBytes), replacements_(replacements), states_(units_.size()) {
    if (!units_.empty()) {  // memcpy takes no null pointer, not even for no bytes
      std::memcpy(units_.data(), trie.data(), units_.size() * kUnitBytes);
    }
  }

  std::string problem();

 private:
  enum class Mark : std::uint8_t { kNew, kOpen, kDone };
  // What is known of the state that a unit leads to.
  struct State {
    Mark mark = Mark::kNew;
    std::uint8_t matches = 0;  // most of a path from here on, this state's own included; once kDone
    std::uint16_t next = 0;    // symbol to try next
  };

  // Looks at a state for the first time. Returns a problem or "".
  std::string enter(std::uint32_t unit);
  // The first state behind `unit` by a symbol from its `next` on; kNone when there is no more.
  std::uint32_t next_child(std::uint32_t unit);
  std::string leaf_problem(std::uint32_t base) const;
  // Counts the matches of a path that goes on from `unit` to `child`. Returns a problem or "".
  std::string count_matches(std::uint32_t unit, std::uint32_t child);
  // The root's own is never looked at: no key is empty.
  bool is_match(std::uint32_t unit) const { return unit != 0 && units_[unit].has_leaf(); }

  static constexpr std::uint32_t kNone = 0xFFFFFFFFU;  // no unit

  std::vector<Unit> units_;
  const std::string_view replacements_;
  std::vector<State> states_;        // by unit
  std::vector<std::uint32_t> path_;  // units from the root
};

std::string TrieWalk::leaf_problem(std::uint32_t base) const {
  const std::size_t at = units_[base].value();
  const std::size_t end = at < replacements_.size() ? replacements_.find('\0', at) : std::string_view::npos;
  if (end == std::string_view::npos) {
    return fmt::format("a replacement at byte {} does not end within the {} bytes there are", at, replacements_.size());
  }
  return end - at > kReplacementBytesMax
             ? fmt::format("a replacement has {} bytes, at most {} are taken", end - at, kReplacementBytesMax)
             : std::string();
}

std::string TrieWalk::enter(std::uint32_t unit) {
  const std::uint32_t base = unit ^ units_[unit].offset();
  // Whatever byte comes next, the library looks at units_[base ^ byte].
  if ((base | (kSymbols - 1)) >= units_.size()) {
    return fmt::format("the trie's unit {} leads to {}, outside of its {} units", unit, base, units_.size());
  }
  State& state = states_[unit];
  state.mark = Mark::kOpen;
  path_.push_back(unit);
  if (is_match(unit)) {
    state.matches = 1;
    return leaf_problem(base);
  }
  return {};
}

std::uint32_t TrieWalk::next_child(std::uint32_t unit) {
  const std::uint32_t base = unit ^ units_[unit].offset();
  State& state = states_[unit];
  while (state.next < kSymbols) {
    const std::uint32_t symbol = state.next++;
    if (units_[base ^ symbol].label() == symbol) {
      return base ^ symbol;
    }
  }
  return kNone;
}

std::string TrieWalk::count_matches(std::uint32_t unit, std::uint32_t child) {
  const int through_child = states_[child].matches + (is_match(unit) ? 1 : 0);
  if (through_child > kMatchesMax) {
    return fmt::format("more than {} of its keys begin one another", kMatchesMax);
  }
  states_[unit].matches = std::max(states_[unit].matches, static_cast<std::uint8_t>(through_child));
  return {};
}

std::string TrieWalk::problem() {
  if (units_.empty()) {
    return "its trie is empty";
  }
  std::string problem = enter(0);
  while (problem.empty() && !path_.empty()) {
    const std::uint32_t unit = path_.back();
    const std::uint32_t child = next_child(unit);
    if (child == kNone) {
      states_[unit].mark = Mark::kDone;
      path_.pop_back();
      problem = path_.empty() ? "" : count_matches(path_.back(), unit);
    } else if (states_[child].mark == Mark::kOpen) {
      problem = "its trie runs in a circle";
    } else if (states_[child].mark == Mark::kNew) {
      problem = enter(child);
    } else {  // keys may share their ends
      problem = count_matches(unit, child);
    }
  }
  return problem;
}

}  // namespace

std::string charsmap_problem(std::string_view charsmap) {
  if (charsmap.empty()) {
    return {};
  }
  std::uint32_t trie_bytes = 0;
  if (charsmap.size() < sizeof(trie_bytes)) {
    return "it is too short";
  }
  std::memcpy(&trie_bytes, charsmap.data(), sizeof(trie_bytes));
  charsmap.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes % kUnitBytes != 0 || trie_bytes > charsmap.size()) {
    return fmt::format("its trie of {} bytes does not fit the {} bytes there are", trie_bytes, charsmap.size());
  }
  if (trie_bytes / kUnitBytes > kUnitsMax) {
    return fmt::format("its trie has more than {} units", kUnitsMax);
  }
  return TrieWalk(charsmap.substr(0, trie_bytes), charsmap.substr(trie_bytes)).problem();
}

}  // namespace coppice::text
