// Sums over the tensors of a model (stored_weights.h).
#include "models/stored_weights.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace coppice::models {
namespace {

// The key that has most bytes. REQUIRES: bytes_of is not empty.
template <typename Key>
Key largest(const std::map<Key, std::size_t>& bytes_of) {
  return std::ranges::max_element(bytes_of, {}, [](const auto& entry) { return entry.second; })->first;
}

}  // namespace

void StoredWeights::add(const std::string& tensor, StoredWeight weight) {
  bytes_ += weight.bytes;
  weights_[tensor] = std::move(weight);
}

const StoredWeight& StoredWeights::of(const std::string& tensor) const {
  const auto found = weights_.find(tensor);
  COPPICE_CHECK(found != weights_.end(), "the tensor is not of this model");
  return found->second;
}

kernels::WeightFormat StoredWeights::format() const {
  std::map<std::pair<kernels::WeightKind, std::int32_t>, std::size_t> bytes_of;
  for (const auto& [tensor, weight] : weights_) {
    const kernels::WeightFormat format =
        weight.widened_from.empty() ? weight.format : kernels::WeightFormat{kernels::WeightKind::kBF16};
    bytes_of[{format.kind, format.group}] += weight.bytes;
  }
  if (bytes_of.empty()) {
    return {};
  }
  const auto [kind, group] = largest(bytes_of);
  return {kind, group};
}

std::string StoredWeights::name() const {
  std::map<std::string, std::size_t> bytes_of;
  for (const auto& [tensor, weight] : weights_) {
    bytes_of[weight.name()] += weight.bytes;
  }
  return bytes_of.empty() ? "" : largest(bytes_of);
}

}  // namespace coppice::models
