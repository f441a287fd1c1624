// What a Hugging Face config.json says of quantised weights (quantization_config): the method, and what of it changes
// how tensors are read.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace coppice::models {

enum class QuantMethod : std::uint8_t { kNone, kFp8, kCompressedTensors, kAwq, kGptq };

// A value.
struct Quantisation {
  QuantMethod method = QuantMethod::kNone;
  std::int32_t bits = 0;              // of a weight: 4 or 8; 0: matrices differ, and their shapes say
  std::int32_t group = 0;             // columns that share a scale; 0: not said, the whole row, or matrices differ
  bool zeros_are_less_by_one = true;  // GPTQ's first format stores a group's zero minus one

  bool operator==(const Quantisation&) const = default;
};

// Reads a quantization_config. `where` opens messages. ERRORS: InvalidArgument (a field of the wrong type);
// Unimplemented for methods, formats and numbers of bits that are not read here, naming what is.
absl::StatusOr<Quantisation> parse_quantisation(const nlohmann::json& json, const std::string& where);

}  // namespace coppice::models
