// EngineView: the prefix tree and the sequences at one moment, as plain values for the console.
// ViewBook: where the engine leaves it for other threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/request.h"
#include "engine/sequence.h"

namespace coppice::engine {

inline constexpr std::int32_t kNoViewNode = -1;  // no index of a node

// A node of the prefix tree with the pages on the edge to it. A root stands for a tenant and has no pages.
struct ViewNode {
  std::int32_t parent = kNoViewNode;  // index in EngineView::nodes; kNoViewNode: a root
  std::int32_t tenant = 0;            // index in EngineView::tenants
  std::int32_t pages = 0;
  std::int32_t locks = 0;  // running sequences and pins whose prefix goes through the node: read once for all of them
  std::uint32_t hits = 0;  // requests that found the node's pages in the cache
  std::uint64_t last_use = 0;  // greater is later
};

struct ViewSequence {
  RequestId request = 0;
  std::int32_t choice = 0;
  std::int32_t tenant = 0;  // index in EngineView::tenants
  std::int32_t node =
      kNoViewNode;          // where its cached prefix ends; kNoViewNode: nowhere, or at a node that was left out
  bool is_running = false;  // else it waits
  std::int32_t prompt_tokens = 0;
  std::int32_t output_tokens = 0;
  std::int32_t computed_tokens = 0;  // of prompt and output
  std::int32_t cached_tokens = 0;    // of the prompt, when it was admitted
  std::int32_t accepted_drafts = 0;  // draft tokens so far
  std::int32_t rejected_drafts = 0;
};

// A value. Bounded: `nodes` has those that are locked, then the latest used, with all that are above them; `sequences`
// the running ones, then the waiting ones.
struct EngineView {
  std::vector<std::string> tenants;  // as in Request::tenant
  std::vector<ViewNode> nodes;       // a parent stands before its children
  std::vector<ViewSequence> sequences;
  std::int32_t nodes_total = 0;
  std::int32_t sequences_total = 0;
};

// The engine between two steps. It reads every node of the tree, so it is made when asked for, not with every step.
// Thread: the engine's.
EngineView make_view(const RadixTree& tree, const SequenceTable& sequences, const RequestTable& requests);

// Thread: ask() and read() any, the rest the engine's.
class ViewBook {
 public:
  // True: the first call since the last publish(), so the engine must be told.
  bool ask() { return !is_asked_.exchange(true); }
  void publish(EngineView view) {
    view_.store(std::make_shared<const EngineView>(std::move(view)));
    is_asked_.store(false);
  }
  // As of the last publish(); null before the first.
  std::shared_ptr<const EngineView> read() const { return view_.load(); }

 private:
  std::atomic<bool> is_asked_{false};
  std::atomic<std::shared_ptr<const EngineView>> view_;
};

}  // namespace coppice::engine
