// StoredWeights: what the tensors of a model are in its files, and in which format each is delivered. A checkpoint may
// mix formats, so nothing is said of all tensors but sums.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>

#include "kernels/weight_format.h"

namespace coppice::models {

// A value.
struct StoredWeight {
  kernels::WeightFormat format;   // in which it is delivered
  std::size_t bytes = 0;          // of all its parts in the files
  std::string widened_from = {};  // what the files hold, where that has fewer bits than `format`; else empty
  bool has_half_scales = false;   // int4: each scale is a float16 number, and zero the middle of the whole numbers

  // What the files hold, for people: "bf16", "FP8".
  std::string name() const { return widened_from.empty() ? kernels::format_name(format) : widened_from; }
};

// Immutable once its source has checked the files.
class StoredWeights {
 public:
  void add(const std::string& tensor, StoredWeight weight);
  // REQUIRES: the tensor was added.
  const StoredWeight& of(const std::string& tensor) const;
  std::size_t bytes() const { return bytes_; }
  // The format of most of the weights, by bytes; of those that are widened it is bf16, which the makers of files in few
  // bits compute in.
  kernels::WeightFormat format() const;
  // What most of them are in the files, by bytes.
  std::string name() const;

 private:
  std::map<std::string, StoredWeight> weights_;
  std::size_t bytes_ = 0;
};

}  // namespace coppice::models
