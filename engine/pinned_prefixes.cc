// Pinning, and why not.
#include "engine/pinned_prefixes.h"

#include <algorithm>
#include <utility>

#include "fmt/format.h"

namespace coppice::engine {

std::string PinnedPrefixes::refusal(std::int32_t tokens) const {
  if (tree_ == nullptr) {
    return "a prompt can only be pinned in the prefix cache, which is off";
  }
  const std::int32_t room = pool_.pages() - pool_.pages_for(room_tokens_) - pages_;
  if (tokens / pool_.page_size() > room) {
    return fmt::format(
        "a pinned prompt of {} tokens does not fit: {} are left for pins; raise --kv-memory or lower "
        "--max-model-len",
        tokens, std::max(0, room) * pool_.page_size());
  }
  return {};
}

void PinnedPrefixes::pin(const Request& request) {
  if (!refusal(static_cast<std::int32_t>(request.prompt.size())).empty()) {
    return;  // there was room when the request came, but other pins took it
  }
  Pin pin;
  pin.pages = PageTable(pool_);
  pin.lock = tree_->match(request.tenant, request.prompt, pin.pages);
  pages_ += pin.pages.size();
  pins_.push_back(std::move(pin));
}

void PinnedPrefixes::count_references(std::span<std::int32_t> counts) const {
  for (const Pin& pin : pins_) {
    for (const PageId page : pin.pages.ids()) {
      ++counts[static_cast<std::size_t>(page)];
    }
  }
}

}  // namespace coppice::engine
