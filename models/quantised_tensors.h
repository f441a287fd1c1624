// QuantisedTensors: the matrices of a safetensors folder that are stored in 4 or 8 bits, in several tensors each:
// packed numbers, scales, zeros, an order of columns. Layouts as their makers write them: compressed-tensors, AutoAWQ,
// AutoGPTQ, FP8 by tensor, row or blocks of 128 × 128.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/quantisation.h"
#include "models/safetensors.h"
#include "models/weight_blocks.h"
#include "models/weights.h"

namespace coppice::models {

// Owner: the weights of a folder; the folder outlives it. One thread.
class QuantisedTensors {
 public:
  QuantisedTensors(const SafetensorsFolder& folder, const Quantisation& quantisation)
      : folder_(folder), quantisation_(quantisation) {}

  // Whether the folder holds this matrix in a quantised form.
  bool holds(const WeightSpec& spec) const;

  struct Facts {
    StoredWeight stored;
    std::vector<std::string> names;  // of all its tensors
  };
  // Checks types and shapes. REQUIRES: holds(spec). ERRORS: NotFound, InvalidArgument naming the tensor.
  absl::StatusOr<Facts> check(const WeightSpec& spec) const;

  // Numbers of 4 and 8 bits keep them. Widened to float32 are GPTQ's with an order of columns of their own, and whole
  // numbers of 8 bits with zeros of their own. REQUIRES: check(spec) was fine. ERRORS: InvalidArgument (a scale that is
  // no number, a column's group that is not there); those of reading.
  absl::StatusOr<WeightTensor> fetch(const WeightSpec& spec);
  void release(const WeightSpec& spec);

 private:
  enum class Layout { kFp8, kInt8, kPacked, kAwq, kGptq };
  enum class ScaleShape { kOne, kRows, kBlocks, kGroups };
  using Tensor = SafetensorsFolder::Tensor;
  // The tensors of one matrix. `order` and `zeros` may be null.
  struct Parts {
    Layout layout = Layout::kFp8;
    const Tensor* numbers = nullptr;
    const Tensor* scales = nullptr;
    const Tensor* zeros = nullptr;
    const Tensor* order = nullptr;
    std::vector<std::string> names;
    ScaleShape shape = ScaleShape::kOne;
    std::int64_t bits = 8;    // of a number as it is stored
    std::int64_t groups = 1;  // of a row
  };

  // A matrix's whole numbers, unsigned, a byte each: [rows][columns], and what makes numbers of them.
  struct Spread {
    std::vector<std::uint8_t> numbers;
    std::vector<float> scales;           // [rows][groups]
    std::vector<std::int32_t> zeros;     // [rows][groups]
    std::vector<std::int32_t> group_of;  // [columns]; empty: groups lie one after the other
  };

  const Tensor* find(const std::string& name) const;
  // Of a packed number: as the config says or, where it says none for all, as the shape does. `axis` is the packed one.
  std::int64_t bits_of(const Tensor* numbers, std::size_t axis, std::int64_t columns) const;
  absl::StatusOr<Parts> parts_of(const WeightSpec& spec) const;
  absl::Status check_scales(const WeightSpec& spec, Parts& parts) const;
  absl::Status check_groups(const WeightSpec& spec, Parts& parts) const;
  // Each column's group; empty: groups lie one after the other.
  absl::StatusOr<std::vector<std::int32_t>> read_order(const WeightSpec& spec, const Parts& parts) const;
  absl::StatusOr<WeightTensor> fetch_fp8(const WeightSpec& spec, const Parts& parts);
  absl::StatusOr<WeightTensor> fetch_whole_numbers(const WeightSpec& spec, const Parts& parts);
  // What the files hold, where it is widened when it is read; else empty.
  absl::StatusOr<std::string> widened_from(const WeightSpec& spec, const Parts& parts) const;
  absl::StatusOr<Spread> spread(const WeightSpec& spec, const Parts& parts) const;
  // [rows][groups]; the middle where a matrix has none of its own.
  absl::StatusOr<std::vector<std::int32_t>> read_zeros(const WeightSpec& spec, const Parts& parts) const;
  WeightTensor widened(const WeightSpec& spec, const Parts& parts, const Spread& spread);
  // Of what is not widened.
  kernels::WeightFormat format_of(const WeightSpec& spec, const Parts& parts) const;

  const SafetensorsFolder& folder_;
  const Quantisation quantisation_;
  WeightBlocks blocks_;
  std::map<std::string, std::vector<float>> scales_;  // of delivered matrices
};

}  // namespace coppice::models
