// OutputCapture: a copy of all tenants' finished outputs, made a few texts at a time between steps. Texts are shared,
// not copied. Outputs evicted while the copy is made may be missing in it.
#pragma once

#include <cstddef>
#include <string>

#include "engine/speculation/snapshot_file.h"
#include "engine/speculation/tenant_trees.h"

namespace coppice::engine {

// Owner and thread: one, the same.
class OutputCapture {
 public:
  // Starts a copy; one that was under way is dropped.
  void begin();
  // Adds some more texts to it.
  void work(const TenantTrees& trees);
  bool is_under_way() const { return is_under_way_; }
  // The finished copy, empty if none was started. REQUIRES: !is_under_way().
  SpeculationSnapshot take();

 private:
  bool is_under_way_ = false;
  std::string tenant_;  // the copy is complete up to this tenant's output `done_`
  std::size_t done_ = 0;
  SpeculationSnapshot snapshot_;
};

}  // namespace coppice::engine
