// Scheduler: which sequences run in the next step and with how many tokens, and which pages they hold. It knows nothing
// of tokens' meaning, sampling or events.
//
// One step: select() gives every chosen sequence its planned_count and pages; take_draft() may add drafts from what
// budget is left; after the step advance() books what was computed. The next step may be chosen while one runs, between
// the two: sequences' counters then say what they will be when it is over. Order of service is Rank. Decoding sequences
// come first in every step, so a long prompt never delays them; prompts share what rows are left; waiting sequences are
// admitted while rows, places and pages last, from the tenant that was served least. When pages run out: cached pages
// go first, then the sequence last in rank gives up its pages and waits (its tokens stay, its KV is recomputed).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/btree_set.h"
#include "engine/kv_pool.h"
#include "engine/limits.h"
#include "engine/radix_tree.h"
#include "engine/sequence.h"
#include "engine/sharing_order.h"
#include "engine/stats.h"
#include "engine/step_plan.h"
#include "engine/tenants.h"

namespace coppice::engine {

// Among waiting sequences of one tenant and priority those with the longest cached prefix come in first, so that
// prefixes are used while they are there; but a sequence is overtaken by its own tenant's at most kOvertakenMax times,
// and never once it has run.
inline constexpr std::int32_t kOvertakenMax = 16;
// Among tenants the one served least comes first. But the first of the line of a tenant that has nothing running goes
// before those once it has waited so many steps, in order of arrival; and if another tenant of no better priority has
// two or more running, that one's last, once it has run as long, gives up its place and pages for it.
inline constexpr std::uint64_t kPatienceSteps = 16;
// Rows of a step that prompts have between them. While others want them, the first in rank has one half; one part in
// kNewcomersIn is kept for a request that is about to be admitted. Others are those of less served tenants, and prompts
// at most half as long as what the first still has before it.
inline constexpr std::int32_t kNewcomersIn = 4;

// Owner: the engine. Thread: the engine's. Loops are bounded by limits.running_max and the number of live sequences.
class Scheduler {
 public:
  Scheduler(const Limits& limits, bool prefix_cache, SequenceTable& sequences, RequestTable& requests);

  // A sequence with tokens wants to run.
  void enqueue(Sequence& sequence);
  // `child`, a dormant choice whose tokens are the prompt, takes over `parent`'s prompt KV, all but the last token's,
  // by reference. REQUIRES: parent has computed the prompt.
  void fork(const Sequence& parent, Sequence& child);
  // Forgets the sequence and gives up its pages and lock.
  void remove(Sequence& sequence);

  // When a step is chosen.
  struct Choosing {
    bool again = false;  // for the step that was chosen last and did not run: that choice is forgotten
    bool ahead = false;  // while the step before still runs, so who ends with it is not known
  };
  // Chooses the next step: sets planned_count, logits_count and scheduled of the chosen. Appends page copies that the
  // step must do first, be it chosen again or not. Sequences whose pages could never be found land in unfit(). False,
  // only with `ahead`: somebody has to be set back or to fail, which is not done while others may be about to end, so
  // the step must be chosen again. (Who was admitted meanwhile stays, with its pages.)
  bool select(Choosing choosing, std::vector<PageCopy>& copies, EngineStats& stats);
  // The first `count` tokens of the sequence are computed in its pages, or will be when the step that runs is over.
  static void set_computed(Sequence& sequence, std::int32_t count);
  // Takes the sequence out of the step that was chosen.
  static void leave_out(Sequence& sequence);
  // How many draft nodes the step may carry in all: free rows and logits.
  std::int32_t drafts_max() const { return std::min(rows_left_, logits_left_); }
  // How many draft nodes `sequence` may carry in this step: free rows, logits and pages.
  std::int32_t draft_room(const Sequence& sequence) const;
  // Makes the pages of sequence.draft part of its table and its nodes part of the step.
  void take_draft(Sequence& sequence);
  // After the step: `computed` of the sequence is set, its choice is that of the coming step or none; gives up pages
  // beyond its tokens and that choice, and shows whole computed pages to the prefix cache.
  void advance(Sequence& sequence);

  // Why a prompt of so many tokens cannot be pinned (Request::pin), or "". Pins leave room for any request that fits
  // the pool's own limit, alone.
  std::string pin_refusal(std::int32_t tokens) const;
  std::int32_t pinned_pages() const { return pinned_pages_; }

  const std::vector<SequenceSlot>& unfit() const { return unfit_; }
  // The running sequences in depth-first order of shared pages.
  std::span<const SharingOrder::Entry> order() const { return order_.entries(); }
  // First in rank of all that wait or run; kNoSequence when there is none.
  SequenceSlot oldest() const;

  std::int32_t running() const { return static_cast<std::int32_t>(running_.size()); }
  std::int32_t waiting() const { return static_cast<std::int32_t>(waiting_.size()); }
  const KvPool& pool() const { return pool_; }
  const RadixTree& tree() const { return tree_; }
  const Tenants& tenants() const { return tenants_; }
  // COPPICE_CHECKs pool.counts, pool.balance, sequence.counters, radix.* and order.contiguous.
  void check_integrity() const;

 private:
  using Key = SequenceKey;
  // A prefix that is never evicted: it is held as a sequence would hold it.
  struct Pin {
    RadixLock lock;
    PageTable pages;  // after the lock, so given up before it
  };
  enum class Room : std::uint8_t {
    kMade,   // the pages are free
    kLater,  // sequences of this step hold them, or those who end with the step before may: next step
    kYield,  // sequences before it in rank hold them
    kNever,  // nobody else holds any
  };
  enum class Entry : std::uint8_t { kAdmitted, kBlocked, kFull };
  struct Candidate {
    Key key;
    std::int32_t cached = 0;  // tokens of its longest cached prefix
  };

  void enter_line(Sequence& sequence);
  void pin_prompt(const Sequence& sequence);
  Room make_room(std::int32_t pages, const Sequence& claimant, EngineStats& stats);
  void preempt(Sequence& sequence, EngineStats& stats);
  static void drop_pages(Sequence& sequence);
  void leave_running(Sequence& sequence);
  void leave_waiting(Sequence& sequence);
  void page_replaced(Sequence& sequence);
  // May anybody be set back or fail now? Where not, it is remembered that it was wanted.
  bool may_preempt();
  void make_way(EngineStats& stats);
  void make_way_for_tenants(EngineStats& stats);
  Sequence* last_of_others(const Sequence& claimant);
  bool could_have_room(const Sequence& claimant) const;

  void select_decoding(std::vector<PageCopy>& copies, EngineStats& stats);
  void select_prompts(std::vector<PageCopy>& copies, EngineStats& stats);
  void top_up_prompts(std::vector<PageCopy>& copies, EngineStats& stats);
  bool may_share_rows(const Sequence& first, const Sequence& other) const;
  bool newcomer_wants_rows(const Sequence& first) const;
  void plan_rows(Sequence& sequence, std::int32_t rows_max, std::vector<PageCopy>& copies, EngineStats& stats);
  bool hold_pages(Sequence& sequence, std::int32_t token_count, std::vector<PageCopy>& copies, EngineStats& stats);
  bool starts_in_shared_page(const Sequence& sequence) const;
  std::int32_t pages_with(const Sequence& sequence, std::int32_t token_count) const;
  std::int32_t missing_pages(const Sequence& sequence, std::int32_t token_count) const;

  void admit_waiting(std::vector<PageCopy>& copies, EngineStats& stats);
  bool admit_some(std::vector<PageCopy>& copies, EngineStats& stats);
  void choose_candidates();
  void choose_tenant(std::int32_t priority);
  void choose_from_line(std::int32_t priority);
  bool out_of_patience(const Sequence& sequence) const;
  bool may_give_way(const Sequence& sequence, const Sequence& claimant) const;
  const Key* first_of_line(std::int32_t tenant, std::int32_t priority) const;
  void count_overtaking(const Key& admitted, std::size_t later);
  Entry try_admit(Sequence& sequence, EngineStats& stats);
  void match_prefix(Sequence& sequence);
  bool enough_pages(const Sequence& sequence, std::int32_t need);
  void enter_running(Sequence& sequence, std::int32_t need, EngineStats& stats);
  bool waits_for_leader(const Sequence& sequence) const;
  bool find_leader(Sequence& sequence) const;
  std::int32_t available_pages() const { return pool_.free_pages() + tree_.evictable_pages(); }

  const Limits limits_;
  const bool prefix_cache_;
  SequenceTable& sequences_;
  RequestTable& requests_;
  KvPool pool_;
  RadixTree tree_;
  SharingOrder order_;
  std::vector<Pin> pins_;
  std::int32_t pinned_pages_ = 0;  // a page counts for each pin that has it
  Tenants tenants_;
  absl::btree_set<Key> waiting_;
  std::vector<Key> running_;         // ascending
  std::vector<SequenceSlot> unfit_;  // of the last select()
  std::vector<Key> scratch_;         // what a loop walks while the lists change under it
  std::vector<Candidate> candidates_;
  std::int32_t chosen_tenant_ = 0;     // whose line candidates_ are
  std::uint64_t next_served_ = 0;      // the counter of the tenant after it
  std::vector<SequenceSlot> holders_;  // waiting sequences that hold pages (forked, not yet admitted)
  std::uint64_t identities_ = 0;       // page tables told apart so far
  std::uint64_t admissions_ = 0;
  std::uint64_t step_ = 0;
  bool ahead_ = false;    // of the last select()
  bool stalled_ = false;  // it came to where it had to set somebody back
  std::int32_t rows_left_ = 0;
  std::int32_t logits_left_ = 0;
};

}  // namespace coppice::engine
