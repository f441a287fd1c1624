// Admission: which waiting sequences run next, and which running ones give way to them.
//
// Between tenants the least served goes first, within a tenant's line the longest cached prefix. A sequence whose
// prefix is just being computed by another one, its leader, waits until the cache has it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "engine/limits.h"
#include "engine/lines.h"
#include "engine/page_keeper.h"
#include "engine/row_budget.h"
#include "engine/sequence.h"

namespace coppice::engine {

// Among waiting sequences of one tenant and priority, those with the longest cached prefix are admitted first, so that
// prefixes are used while they are cached. Each sequence is overtaken at most this many times, so that a short prefix
// does not starve; one that has run before is never overtaken.
inline constexpr std::int32_t kOvertakenMax = 16;
// Steps after which the first of the line of a tenant with nothing running goes before less served tenants, in order of
// arrival, and takes the place and pages of the last sequence of a tenant of no better priority with two or more
// running, once that sequence has run as long. The bound that fairness_sim_test checks is a multiple of it.
inline constexpr std::uint64_t kPatienceSteps = 16;

// Owner: the scheduler. Thread: the engine's. Writes AdmissionState. Loops are bounded by limits.running_max and the
// number of live sequences.
class Admission {
 public:
  // Of all first admissions: prompt tokens, those looked up in the prefix cache, and those found there.
  struct Counts {
    std::uint64_t prompt_tokens = 0;
    std::uint64_t prefix_queries = 0;
    std::uint64_t prefix_hits = 0;
  };

  Admission(std::int32_t running_max, SequenceTable& sequences, Lines& lines, PageKeeper& pages, Preemption& preemption,
            RowBudget& rows);

  // Preempts running sequences for waiting ones with a better claim: of better priority, or out of patience.
  void make_way();
  // Admits waiting sequences while places, pages and rows last.
  void admit_waiting();
  // Whether a waiting sequence may soon be admitted that may share rows with `first` (RowBudget::may_share).
  bool newcomer_wants_rows(const Sequence& first) const;
  // `child` was forked from `parent`, whose first `tokens` tokens are its own too: unless it has more than one token
  // beside them, it counts as admitted with the parent.
  static void fork(const Sequence& parent, Sequence& child, std::int32_t tokens);

  const Counts& counts() const { return counts_; }
  // Whether the last admissions ended because the next sequence found too few pages.
  bool is_short_of_pages() const { return is_short_of_pages_; }
  std::int32_t free_places() const { return std::max(0, running_max_ - lines_.running_count()); }
  // Of the waiting sequences, how many wait for another one to compute their prefix: of the first ones in rank alone,
  // so that counting takes no time that a step would notice.
  std::int32_t deferred() const;

 private:
  enum class Entry : std::uint8_t { kAdmitted, kBlocked, kFull };
  struct Candidate {
    SequenceKey key;
    std::int32_t cached = 0;  // tokens of its longest cached prefix
  };

  void make_way_for_priority();
  void make_way_within_tenants();
  void make_way_for_tenants();
  bool fits(const Sequence& sequence) const;
  bool out_of_patience(const Sequence& sequence) const;
  bool may_give_way(const Sequence& sequence, const Sequence& claimant) const;
  template <typename MayGo>
  bool could_have_room(const Sequence& claimant, const MayGo& may_go) const;
  template <typename MayGo>
  Sequence* last_of(const MayGo& may_go);
  Sequence* last_to_give_way(const Sequence& claimant);

  bool admit_some();
  const SequenceKey* first_in_rank() const;
  const SequenceKey* first_of_line(std::int32_t tenant, std::int32_t priority) const;
  void choose_candidates();
  void choose_tenant(std::int32_t priority);
  void choose_from_line(std::int32_t tenant, std::int32_t priority);
  void count_overtaking(const SequenceKey& admitted, std::size_t later);

  Entry try_admit(Sequence& sequence);
  void run(Sequence& sequence, std::int32_t missing_pages);
  bool waits_for_leader(const Sequence& sequence) const;
  bool find_leader(Sequence& sequence) const;

  const std::int32_t running_max_;
  SequenceTable& sequences_;
  Lines& lines_;
  PageKeeper& pages_;
  Preemption& preemption_;
  RowBudget& rows_;
  std::vector<Candidate> candidates_;
  std::uint64_t next_served_ = 0;  // the least counter of the tenants after the one that candidates_ belong to
  Counts counts_;
  bool is_short_of_pages_ = false;
};

}  // namespace coppice::engine
