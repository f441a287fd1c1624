// One function a method.
#include "models/quantisation.h"

#include <fmt/format.h>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "models/json_text.h"

namespace coppice::models {
namespace {

constexpr std::int64_t kBitsMost = 64;  // of a field that says how many; more is a mistake of its writer

absl::Status unsupported(const JsonFields& fields, const std::string& what) {
  return absl::UnimplementedError(
      fmt::format("{}: {} is not supported; supported: fp8, compressed-tensors (4 or 8 bits whole numbers, 8 bits "
                  "floats), awq (4 bits, version gemm), gptq (4 or 8 bits)",
                  fields.where(), what));
}

absl::StatusOr<Quantisation> parse_awq(JsonFields& fields) {
  Quantisation out{.method = QuantMethod::kAwq};
  out.bits = static_cast<std::int32_t>(fields.integer("bits", fields.integer("w_bit", 4, 1, kBitsMost), 1, kBitsMost));
  const std::string version = fields.text("version", "gemm");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (out.bits != 4) {
    return unsupported(fields, fmt::format("awq with {} bits", out.bits));
  }
  if (version != "gemm" && version != "GEMM") {
    return unsupported(fields, fmt::format("awq version \"{}\"", version));
  }
  return out;
}

absl::StatusOr<Quantisation> parse_gptq(JsonFields& fields) {
  Quantisation out{.method = QuantMethod::kGptq};
  out.bits = static_cast<std::int32_t>(fields.integer("bits", 4, 1, kBitsMost));
  const std::string format = fields.text("checkpoint_format", "gptq");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (out.bits != 4 && out.bits != 8) {
    return unsupported(fields, fmt::format("gptq with {} bits", out.bits));
  }
  if (format != "gptq" && format != "gptq_v2") {
    return unsupported(fields, fmt::format("gptq checkpoint_format \"{}\"", format));
  }
  out.zeros_are_less_by_one = format == "gptq";
  return out;
}

// One of config_groups: how its weights are stored.
absl::StatusOr<std::int32_t> parse_group(const JsonFields& fields, const nlohmann::json& group) {
  const auto found = group.is_object() ? group.find("weights") : group.end();
  if (found == group.end() || !found->is_object()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: config_groups must have objects with weights, found {}", fields.where(), json_excerpt(group)));
  }
  JsonFields weights(*found, fields.where() + ": weights");
  const auto bits = static_cast<std::int32_t>(weights.integer("num_bits", 8, 1, kBitsMost));
  const std::string type = weights.text("type", "int");
  COPPICE_RETURN_IF_ERROR(weights.status());
  if (!(type == "int" && (bits == 4 || bits == 8)) && !(type == "float" && bits == 8)) {
    return unsupported(fields, fmt::format("compressed-tensors with {} bits of type \"{}\"", bits, type));
  }
  return bits;
}

absl::StatusOr<Quantisation> parse_compressed(JsonFields& fields) {
  Quantisation out{.method = QuantMethod::kCompressedTensors};
  const nlohmann::json* const groups = fields.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: config_groups must be an object, found {}", fields.where(),
                                                  groups == nullptr ? "nothing" : json_excerpt(*groups)));
  }
  for (const auto& [name, group] : groups->items()) {
    COPPICE_ASSIGN_OR_RETURN(const std::int32_t bits, parse_group(fields, group));
    if (out.bits != 0 && out.bits != bits) {
      return unsupported(fields, "compressed-tensors with groups of different bits");
    }
    out.bits = bits;
  }
  const std::string format = fields.text("format", "");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (format != "pack-quantized" && format != "int-quantized" && format != "float-quantized" &&
      format != "naive-quantized") {
    return unsupported(fields, fmt::format("compressed-tensors format \"{}\"", format));
  }
  return out;
}

}  // namespace

absl::StatusOr<Quantisation> parse_quantisation(const nlohmann::json& json, const std::string& where) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError(fmt::format("{} must be an object, found {}", where, json_excerpt(json)));
  }
  JsonFields fields(json, where);
  const std::string method = fields.text("quant_method", "");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (method == "fp8" || method == "fbgemm_fp8") {
    return Quantisation{.method = QuantMethod::kFp8, .bits = 8};
  }
  if (method == "compressed-tensors") {
    return parse_compressed(fields);
  }
  if (method == "awq") {
    return parse_awq(fields);
  }
  if (method == "gptq") {
    return parse_gptq(fields);
  }
  return unsupported(fields, fmt::format("quant_method \"{}\"", method));
}

}  // namespace coppice::models
