// One function a method.
#include "models/quantisation.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "models/json_text.h"

namespace coppice::models {
namespace {

constexpr std::int64_t kBitsMost = 64;        // of a field that says how many; more is a mistake of its writer
constexpr std::int64_t kGroupMost = 1 << 20;  // columns: no matrix has more
constexpr std::int32_t kFp8Block = 128;       // rows and columns that share a scale: the only size in use

absl::Status unsupported(const JsonFields& fields, const std::string& what) {
  return absl::UnimplementedError(
      fmt::format("{}: {} is not supported; supported: fp8, compressed-tensors (4 or 8 bits whole numbers, 8 bits "
                  "floats), awq (4 bits, version gemm), gptq (4 or 8 bits), modelopt (FP8)",
                  fields.where(), what));
}

// A group's columns; -1 in the file means the whole row.
std::int32_t group_of(JsonFields& fields, const char* name, std::int64_t fallback) {
  return static_cast<std::int32_t>(std::max<std::int64_t>(0, fields.integer(name, fallback, -1, kGroupMost)));
}

// Refuses a `name` that is there and is not [128, 128].
absl::Status check_block(const JsonFields& fields, const char* name) {
  const nlohmann::json* const block = fields.find(name);
  if (block == nullptr || block->is_null() || *block == nlohmann::json({kFp8Block, kFp8Block})) {
    return absl::OkStatus();
  }
  return unsupported(fields, fmt::format("{} {}", name, json_excerpt(*block)));
}

absl::StatusOr<Quantisation> parse_awq(JsonFields& fields) {
  Quantisation out{.method = QuantMethod::kAwq};
  out.group = group_of(fields, "group_size", group_of(fields, "q_group_size", 0));
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
  out.group = group_of(fields, "group_size", 0);
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
  if (const nlohmann::json* const dynamic = fields.find("dynamic"); dynamic != nullptr && !dynamic->empty()) {
    out.bits = 0;  // bits and groups of single matrices, by patterns of their names
    out.group = 0;
  }
  return out;
}

// NVIDIA's ModelOpt: FP8 with a scale a matrix is as everyone's; its other algorithms are not read here.
absl::StatusOr<Quantisation> parse_modelopt(JsonFields& fields) {
  const std::string algorithm = fields.text("quant_algo", "");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (algorithm != "FP8") {
    return unsupported(fields, fmt::format("modelopt quant_algo \"{}\"", algorithm));
  }
  return Quantisation{.method = QuantMethod::kFp8, .bits = 8};
}

// Refuses a layout of compressed-tensors that is not read here. `fields`: the config's, or one of its groups'.
absl::Status check_layout(const JsonFields& fields, const std::string& format) {
  if (format != "pack-quantized" && format != "int-quantized" && format != "float-quantized" &&
      format != "naive-quantized") {
    return unsupported(fields, fmt::format("compressed-tensors format \"{}\"", format));
  }
  return absl::OkStatus();
}

// Bits and group of the weights of one of config_groups.
absl::StatusOr<Quantisation> parse_group(const JsonFields& fields, const nlohmann::json& group) {
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
  COPPICE_RETURN_IF_ERROR(check_block(weights, "block_structure"));
  Quantisation out{.method = QuantMethod::kCompressedTensors, .bits = bits};
  out.group = group_of(weights, "group_size", 0);
  COPPICE_RETURN_IF_ERROR(weights.status());
  JsonFields own(group, fields.where() + ": config_groups");
  if (const std::string format = own.text("format", ""); !format.empty()) {  // in files of several
    COPPICE_RETURN_IF_ERROR(check_layout(own, format));
  }
  COPPICE_RETURN_IF_ERROR(own.status());
  return out;
}

absl::StatusOr<Quantisation> parse_compressed(JsonFields& fields) {
  std::optional<Quantisation> out;
  const nlohmann::json* const groups = fields.find("config_groups");
  if (groups == nullptr || !groups->is_object() || groups->empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: config_groups must be an object, found {}", fields.where(),
                                                  groups == nullptr ? "nothing" : json_excerpt(*groups)));
  }
  for (const auto& [name, group] : groups->items()) {
    COPPICE_ASSIGN_OR_RETURN(const Quantisation parsed, parse_group(fields, group));
    if (out && *out != parsed) {
      out->bits = 0;
      out->group = 0;
    }
    out = out.value_or(parsed);
  }
  if (const nlohmann::json* const turns = fields.find("transform_config"); turns != nullptr && !turns->empty()) {
    return unsupported(fields, "compressed-tensors with a transform_config");
  }
  const std::string format = fields.text("format", "");
  COPPICE_RETURN_IF_ERROR(fields.status());
  if (format != "mixed-precision") {  // each group has its own
    COPPICE_RETURN_IF_ERROR(check_layout(fields, format));
  }
  return *out;
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
    COPPICE_RETURN_IF_ERROR(check_block(fields, "weight_block_size"));
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
  if (method == "modelopt") {
    return parse_modelopt(fields);
  }
  return unsupported(fields, fmt::format("quant_method \"{}\"", method));
}

}  // namespace coppice::models
