// Reading of quantised matrices: whole numbers of every layout are first spread, a byte each, row by row of the matrix;
// then packed again as kernels take them.
#include "models/quantised_tensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kernels/float8.h"
#include "models/float_formats.h"
#include "models/packed_numbers.h"

namespace coppice::models {
namespace {

using kernels::WeightFormat;
using kernels::WeightKind;
using Tensor = SafetensorsFolder::Tensor;

constexpr std::int64_t kFp8Block = 128;  // rows and columns that share a scale: the only size in use
constexpr std::string_view kWeight = ".weight";
std::string prefix_of(const WeightSpec& spec) {
  return spec.name.substr(0, spec.name.size() - kWeight.size());
}

std::int64_t blocks_of(std::int64_t count, std::int64_t block) {
  return (count + block - 1) / block;
}

absl::Status check_tensor(const std::string& name, const Tensor& tensor, std::string_view type,
                          const std::vector<std::int64_t>& shape) {
  if (tensor.entry->dtype != type || tensor.entry->shape != shape) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: expected {} [{}], found {} [{}]", name, type,
                                                  fmt::join(shape, ", "), tensor.entry->dtype,
                                                  fmt::join(tensor.entry->shape, ", ")));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::byte>> read_bytes(const Tensor& tensor) {
  std::vector<std::byte> bytes(tensor.bytes());
  COPPICE_RETURN_IF_ERROR(tensor.read(bytes));
  return bytes;
}

// Numbers of F32, F16 or BF16, checked to be finite.
absl::StatusOr<std::vector<float>> read_scales(const std::string& matrix, const Tensor& tensor) {
  const std::string& type = tensor.entry->dtype;
  const WeightKind kind = type == "F32" ? WeightKind::kF32 : type == "F16" ? WeightKind::kF16 : WeightKind::kBF16;
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, read_bytes(tensor));
  const WeightFormat format{kind};
  const auto count = static_cast<std::int64_t>(bytes.size() / format.block().bytes);
  std::vector<float> numbers(static_cast<std::size_t>(count));
  convert_to_float({bytes, format, 1, count, {}}, numbers);
  constexpr float kWholeMost = 256.0F;  // that a scale is multiplied by, at most (FP8: 448, checked where it is)
  if (!std::ranges::all_of(numbers, [](float number) { return std::isfinite(number * kWholeMost); })) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {}: a scale is NaN, infinity or close to it; the model's files are damaged", matrix));
  }
  return numbers;
}

absl::StatusOr<std::vector<std::uint32_t>> read_words(const Tensor& tensor) {
  std::vector<std::uint32_t> words(tensor.bytes() / sizeof(std::uint32_t));
  COPPICE_RETURN_IF_ERROR(tensor.read(std::as_writable_bytes(std::span(words))));
  return words;
}

bool are_middle(std::span<const std::int32_t> zeros, std::int64_t bits) {
  return std::ranges::all_of(zeros, [middle = middle_of(bits)](std::int32_t zero) { return zero == middle; });
}

}  // namespace

const SafetensorsFolder::Tensor* QuantisedTensors::find(const std::string& name) const {
  const auto found = folder_.tensors().find(name);
  return found == folder_.tensors().end() ? nullptr : &found->second;
}

bool QuantisedTensors::holds(const WeightSpec& spec) const {
  if (quantisation_.method == QuantMethod::kNone || spec.is_vector() || !spec.name.ends_with(kWeight)) {
    return false;
  }
  const std::string prefix = prefix_of(spec);
  if (find(prefix + ".qweight") != nullptr || find(prefix + ".weight_packed") != nullptr) {
    return true;
  }
  const Tensor* const weight = find(spec.name);
  return weight != nullptr && (weight->entry->dtype == "F8_E4M3" || weight->entry->dtype == "I8");
}

std::int64_t QuantisedTensors::bits_of(const Tensor* numbers, std::size_t axis, std::int64_t columns) const {
  constexpr std::int64_t kBytesOfWord = 4;  // each a whole number of 8 bits
  if (quantisation_.bits != 0 || numbers == nullptr || numbers->entry->shape.size() != 2) {
    return quantisation_.bits == 0 ? 4 : quantisation_.bits;
  }
  return numbers->entry->shape[axis] == columns / kBytesOfWord ? 8 : 4;
}

absl::StatusOr<QuantisedTensors::Parts> QuantisedTensors::parts_of(const WeightSpec& spec) const {
  const std::string prefix = prefix_of(spec);
  Parts parts;
  const auto take = [&](const Tensor*& target, const char* suffix) {
    if (target == nullptr) {
      target = find(prefix + suffix);
      if (target != nullptr) {
        parts.names.push_back(prefix + suffix);
      }
    }
  };
  std::int64_t per_word = 1;
  std::vector<std::int64_t> shape = {spec.rows, spec.columns};
  std::string_view type = "I32";
  if (quantisation_.method == QuantMethod::kAwq || quantisation_.method == QuantMethod::kGptq) {
    const bool is_awq = quantisation_.method == QuantMethod::kAwq;
    parts.layout = is_awq ? Layout::kAwq : Layout::kGptq;
    take(parts.numbers, ".qweight");
    take(parts.scales, ".scales");
    take(parts.zeros, ".qzeros");
    take(parts.order, is_awq ? ".no_order" : ".g_idx");
    parts.bits = bits_of(parts.numbers, 0, spec.columns);
    per_word = 32 / parts.bits;
    shape = is_awq ? std::vector{spec.columns, spec.rows / per_word} : std::vector{spec.columns / per_word, spec.rows};
  } else if (find(prefix + ".weight_packed") != nullptr) {
    parts.layout = Layout::kPacked;
    take(parts.numbers, ".weight_packed");
    take(parts.scales, ".weight_scale");
    take(parts.zeros, ".weight_zero_point");
    take(parts.order, ".weight_g_idx");
    if (find(prefix + ".weight_shape") != nullptr) {
      parts.names.push_back(prefix + ".weight_shape");
    }
    parts.bits = bits_of(parts.numbers, 1, spec.columns);
    per_word = 32 / parts.bits;
    shape = {spec.rows, spec.columns / per_word};
  } else {
    take(parts.numbers, ".weight");
    parts.layout = parts.numbers != nullptr && parts.numbers->entry->dtype == "I8" ? Layout::kInt8 : Layout::kFp8;
    type = parts.layout == Layout::kInt8 ? "I8" : "F8_E4M3";
    take(parts.scales, ".weight_scale_inv");
    take(parts.scales, ".weight_scale");
    take(parts.zeros, ".weight_zero_point");
    for (const char* unused : {".input_scale", ".input_zero_point", ".azp_adj", ".input_scale_ub"}) {
      if (find(prefix + unused) != nullptr) {
        parts.names.push_back(prefix + unused);
      }
    }
  }
  if (parts.numbers == nullptr || parts.scales == nullptr) {
    return absl::NotFoundError(fmt::format("tensor {}: its {} are missing from the model's files", spec.name,
                                           parts.numbers == nullptr ? "packed numbers" : "scales"));
  }
  const bool packs_rows = parts.layout == Layout::kAwq || (type == "I32" && parts.zeros != nullptr);
  if ((type == "I32" && parts.layout != Layout::kAwq && spec.columns % per_word != 0) ||
      (packs_rows && spec.rows % per_word != 0)) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: [{}, {}] cannot be packed {} numbers to a word",
                                                  spec.name, spec.rows, spec.columns, per_word));
  }
  COPPICE_RETURN_IF_ERROR(check_tensor(parts.names.front(), *parts.numbers, type, shape));
  COPPICE_RETURN_IF_ERROR(check_scales(spec, parts));
  return parts;
}

absl::Status QuantisedTensors::check_scales(const WeightSpec& spec, Parts& parts) const {
  const SafetensorsEntry& scales = *parts.scales->entry;
  const auto wrong = [&](const std::string& expected) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: expected scales {}, found {} [{}]", spec.name, expected,
                                                  scales.dtype, fmt::join(scales.shape, ", ")));
  };
  if (scales.dtype != "F32" && scales.dtype != "F16" && scales.dtype != "BF16") {
    return wrong("in F32, F16 or BF16");
  }
  const bool is_one =
      std::ranges::all_of(scales.shape, [](std::int64_t size) { return size == 1; }) && scales.shape.size() <= 2;
  const bool is_per_row =
      scales.shape == std::vector<std::int64_t>{spec.rows, 1} || scales.shape == std::vector<std::int64_t>{spec.rows};
  if (parts.layout == Layout::kFp8 || parts.layout == Layout::kInt8) {
    const std::vector<std::int64_t> blocks = {blocks_of(spec.rows, kFp8Block), blocks_of(spec.columns, kFp8Block)};
    parts.shape = is_one ? ScaleShape::kOne : is_per_row ? ScaleShape::kRows : ScaleShape::kBlocks;
    if (parts.shape == ScaleShape::kBlocks && (parts.layout == Layout::kInt8 || scales.shape != blocks)) {
      return wrong(fmt::format("of one, {} or, in FP8, {} × {} numbers", spec.rows, blocks[0], blocks[1]));
    }
    if (parts.zeros == nullptr) {
      return absl::OkStatus();
    }
    return check_tensor(fmt::format("{}: zeros", spec.name), *parts.zeros, "I8", scales.shape);
  }
  return check_groups(spec, parts);
}

absl::Status QuantisedTensors::check_groups(const WeightSpec& spec, Parts& parts) const {
  const SafetensorsEntry& scales = *parts.scales->entry;
  const bool is_packed = parts.layout == Layout::kPacked;
  const std::size_t group_axis = is_packed ? 1 : 0;
  parts.shape = ScaleShape::kGroups;
  parts.groups = scales.shape.size() == 2 ? scales.shape[group_axis] : 0;
  const std::int64_t group = quantisation_.group;
  if (parts.groups < 1 || scales.shape[1 - group_axis] != spec.rows || spec.columns % parts.groups != 0 ||
      (group != 0 && parts.groups * group != spec.columns)) {
    return absl::InvalidArgumentError(fmt::format(
        "tensor {}: expected scales of {} rows in groups{} that divide {} columns, found [{}]", spec.name, spec.rows,
        group == 0 ? "" : fmt::format(" of {}", group), spec.columns, fmt::join(scales.shape, ", ")));
  }
  const std::int64_t per_word = 32 / parts.bits;
  if (parts.zeros != nullptr) {
    const std::vector<std::int64_t> shape =
        is_packed ? std::vector{spec.rows / per_word, parts.groups} : std::vector{parts.groups, spec.rows / per_word};
    COPPICE_RETURN_IF_ERROR(check_tensor(fmt::format("{}: zeros", spec.name), *parts.zeros, "I32", shape));
  } else if (!is_packed) {
    return absl::NotFoundError(fmt::format("tensor {}: its zeros are missing from the model's files", spec.name));
  }
  if (parts.order != nullptr) {
    COPPICE_RETURN_IF_ERROR(check_tensor(fmt::format("{}: g_idx", spec.name), *parts.order, "I32", {spec.columns}));
  }
  return absl::OkStatus();
}

WeightFormat QuantisedTensors::format_of(const WeightSpec& spec, const Parts& parts) const {
  if (parts.layout == Layout::kFp8) {
    const bool has_groups = parts.shape == ScaleShape::kBlocks && spec.columns > kFp8Block;
    return {WeightKind::kFp8, has_groups ? static_cast<std::int32_t>(kFp8Block) : 0};
  }
  const auto group = static_cast<std::int32_t>(spec.columns / parts.groups);
  return {parts.bits == 4 ? WeightKind::kInt4 : WeightKind::kInt8, parts.groups == 1 ? 0 : group};
}

absl::StatusOr<QuantisedTensors::Facts> QuantisedTensors::check(const WeightSpec& spec) const {
  COPPICE_ASSIGN_OR_RETURN(const Parts parts, parts_of(spec));
  COPPICE_ASSIGN_OR_RETURN(std::string widened, widened_from(spec, parts));
  Facts facts;
  facts.names = parts.names;
  for (const std::string& name : parts.names) {
    facts.stored.bytes += find(name)->bytes();
  }
  facts.stored.format = widened.empty() ? format_of(spec, parts) : WeightFormat{WeightKind::kF32};
  facts.stored.widened_from = std::move(widened);
  facts.stored.has_half_scales = parts.bits == 4 && parts.zeros == nullptr && parts.scales->entry->dtype == "F16";
  return facts;
}

absl::StatusOr<std::string> QuantisedTensors::widened_from(const WeightSpec& spec, const Parts& parts) const {
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::int32_t> order, read_order(spec, parts));
  const std::string name = format_name(format_of(spec, parts));
  if (!order.empty()) {
    return name + " with an order of columns";
  }
  if (parts.bits == 8 && parts.zeros != nullptr) {
    COPPICE_ASSIGN_OR_RETURN(const std::vector<std::int32_t> zeros, read_zeros(spec, parts));
    return are_middle(zeros, parts.bits) ? "" : name + " with zeros";
  }
  return "";
}

absl::StatusOr<WeightTensor> QuantisedTensors::fetch_fp8(const WeightSpec& spec, const Parts& parts) {
  COPPICE_ASSIGN_OR_RETURN(const std::vector<float> stored, read_scales(spec.name, *parts.scales));
  const WeightFormat format = format_of(spec, parts);
  const auto rows = static_cast<std::size_t>(spec.rows);
  const auto groups = static_cast<std::size_t>(format.groups(spec.columns));
  std::vector<float>& scales = scales_[spec.name];
  scales.resize(rows * groups);
  for (std::size_t row = 0; row < rows; ++row) {
    for (std::size_t group = 0; group < groups; ++group) {
      scales[row * groups + group] = stored.size() == 1                   ? stored.front()
                                     : parts.shape == ScaleShape::kBlocks ? stored[row / kFp8Block * groups + group]
                                                                          : stored[row];
    }
  }
  const auto are_numbers = [&spec](bool yes) {
    return yes ? absl::OkStatus()
               : absl::InvalidArgumentError(
                     fmt::format("tensor {}: holds NaN or infinity; the model's files are damaged", spec.name));
  };
  COPPICE_RETURN_IF_ERROR(
      are_numbers(std::ranges::all_of(stored, [](float scale) { return std::isfinite(scale * kernels::kFp8Most); })));
  const std::span<std::byte> out(blocks_.lend(spec.name, parts.numbers->bytes()), parts.numbers->bytes());
  COPPICE_RETURN_IF_ERROR(parts.numbers->read(out, [&](std::span<const std::byte> part) {
    // Without an early exit, so that the loop is vector code.
    const auto found = std::ranges::count_if(
        part, [](std::byte bits) { return kernels::is_fp8_nan(static_cast<std::uint8_t>(bits)); });
    return are_numbers(found == 0);
  }));
  return WeightTensor({out, format, spec.rows, spec.columns, scales});
}

namespace {

// Whether groups lie one after the other; the check of their range. ERRORS: InvalidArgument.
absl::StatusOr<bool> is_in_order(const std::string& matrix, std::span<const std::int32_t> group_of,
                                 std::int64_t groups) {
  const auto columns = static_cast<std::int64_t>(group_of.size());
  bool in_order = true;
  for (std::int64_t column = 0; column < columns; ++column) {
    const std::int32_t group = group_of[static_cast<std::size_t>(column)];
    if (group < 0 || group >= groups) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {}: g_idx names group {} of {}; the model's files are damaged", matrix, group, groups));
    }
    in_order = in_order && group == column / (columns / groups);
  }
  return in_order;
}

// [groups][rows] as [rows][groups].
std::vector<float> turned(std::span<const float> numbers, std::int64_t rows, std::int64_t groups) {
  std::vector<float> out(numbers.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t group = 0; group < groups; ++group) {
      out[static_cast<std::size_t>(row * groups + group)] = numbers[static_cast<std::size_t>(group * rows + row)];
    }
  }
  return out;
}

// Numbers of 4 bits, two in a byte, the earlier one in its lower half. A row begins a byte: after an odd number of
// columns half a byte is left over.
void pack_halves(std::span<const std::uint8_t> numbers, std::size_t columns, std::span<std::byte> out) {
  const std::size_t row_bytes = (columns + 1) / 2;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t column = 2 * (i % row_bytes);
    const std::size_t at = i / row_bytes * columns + column;
    const std::uint32_t later = column + 1 < columns ? numbers[at + 1] : 0U;
    out[i] = static_cast<std::byte>(numbers[at] | later << 4U);
  }
}

}  // namespace

absl::StatusOr<std::vector<std::int32_t>> QuantisedTensors::read_zeros(const WeightSpec& spec,
                                                                       const Parts& parts) const {
  const std::int64_t bits = parts.bits;
  std::vector<std::int32_t> out(static_cast<std::size_t>(spec.rows * parts.groups), middle_of(bits));
  if (parts.zeros == nullptr) {
    return out;
  }
  if (parts.layout == Layout::kInt8) {
    COPPICE_ASSIGN_OR_RETURN(const std::vector<std::byte> zeros, read_bytes(*parts.zeros));
    for (std::size_t row = 0; row < out.size(); ++row) {
      out[row] += static_cast<std::int8_t>(zeros[zeros.size() == 1 ? 0 : row]);
    }
    return out;
  }
  const std::int64_t per_word = 32 / bits;
  const std::int64_t words_of_row = spec.rows / per_word;
  const std::int32_t more = quantisation_.method == QuantMethod::kGptq && quantisation_.zeros_are_less_by_one ? 1 : 0;
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> words, read_words(*parts.zeros));
  for (std::int64_t row = 0; row < spec.rows; ++row) {
    const std::int64_t place = parts.layout == Layout::kAwq ? awq_part_of(row) : row % per_word;
    for (std::int64_t group = 0; group < parts.groups; ++group) {
      const std::int64_t word = parts.layout == Layout::kPacked ? row / per_word * parts.groups + group
                                                                : group * words_of_row + row / per_word;
      out[static_cast<std::size_t>(row * parts.groups + group)] =
          static_cast<std::int32_t>(part_of(words[static_cast<std::size_t>(word)], place, bits)) + more;
    }
  }
  return out;
}

absl::StatusOr<std::vector<std::int32_t>> QuantisedTensors::read_order(const WeightSpec& spec,
                                                                       const Parts& parts) const {
  std::vector<std::int32_t> group_of;
  if (parts.order != nullptr) {
    group_of.resize(static_cast<std::size_t>(spec.columns));
    COPPICE_RETURN_IF_ERROR(parts.order->read(std::as_writable_bytes(std::span(group_of))));
    COPPICE_ASSIGN_OR_RETURN(const bool in_order, is_in_order(spec.name, group_of, parts.groups));
    if (in_order) {
      group_of.clear();
    }
  }
  return group_of;
}

absl::StatusOr<QuantisedTensors::Spread> QuantisedTensors::spread(const WeightSpec& spec, const Parts& parts) const {
  const std::int64_t bits = parts.bits;
  Spread out;
  COPPICE_ASSIGN_OR_RETURN(out.scales, read_scales(spec.name, *parts.scales));
  out.numbers.resize(static_cast<std::size_t>(spec.rows * spec.columns));
  COPPICE_ASSIGN_OR_RETURN(out.zeros, read_zeros(spec, parts));
  if (parts.layout == Layout::kInt8) {
    COPPICE_RETURN_IF_ERROR(parts.numbers->read(std::as_writable_bytes(std::span(out.numbers))));
    for (std::uint8_t& number : out.numbers) {
      number ^= 0x80U;
    }
    out.scales.resize(static_cast<std::size_t>(spec.rows), out.scales.front());
    return out;
  }
  COPPICE_ASSIGN_OR_RETURN(const std::vector<std::uint32_t> words, read_words(*parts.numbers));
  if (parts.layout == Layout::kPacked) {
    spread_packed(words, spec.rows, spec.columns, bits, out.numbers);
  } else if (parts.layout == Layout::kGptq) {
    spread_gptq(words, spec.rows, spec.columns, bits, out.numbers);
  } else {
    spread_awq(words, spec.rows, spec.columns, out.numbers);
  }
  if (parts.layout != Layout::kPacked) {
    out.scales = turned(out.scales, spec.rows, parts.groups);
  }
  COPPICE_ASSIGN_OR_RETURN(out.group_of, read_order(spec, parts));
  return out;
}

WeightTensor QuantisedTensors::widened(const WeightSpec& spec, const Parts& parts, const Spread& spread) {
  const std::size_t size = spread.numbers.size() * sizeof(float);
  const std::int64_t group_columns = spec.columns / parts.groups;
  std::byte* const out = blocks_.lend(spec.name, size);
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < spec.rows; ++row) {
    for (std::int64_t column = 0; column < spec.columns; ++column) {
      const std::int64_t group =
          spread.group_of.empty() ? column / group_columns : spread.group_of[static_cast<std::size_t>(column)];
      const auto at = static_cast<std::size_t>(row * parts.groups + group);
      const auto place = static_cast<std::size_t>(row * spec.columns + column);
      const float number = static_cast<float>(spread.numbers[place] - spread.zeros[at]) * spread.scales[at];
      std::memcpy(out + place * sizeof number, &number, sizeof number);
    }
  }
  return WeightTensor({{out, size}, {WeightKind::kF32}, spec.rows, spec.columns, {}});
}

absl::StatusOr<WeightTensor> QuantisedTensors::fetch_whole_numbers(const WeightSpec& spec, const Parts& parts) {
  COPPICE_ASSIGN_OR_RETURN(Spread numbers, spread(spec, parts));
  if (!numbers.group_of.empty() || (parts.bits == 8 && !are_middle(numbers.zeros, parts.bits))) {
    return widened(spec, parts, numbers);
  }
  const WeightFormat format = format_of(spec, parts);
  const std::size_t size = format.bytes(spec.rows, spec.columns);
  std::byte* const out = blocks_.lend(spec.name, size);
  std::vector<float>& scales = scales_[spec.name];
  if (parts.bits == 8) {
    scales = std::move(numbers.scales);
    for (std::size_t i = 0; i < size; ++i) {
      out[i] = static_cast<std::byte>(numbers.numbers[i] ^ 0x80U);
    }
  } else {
    scales.resize(2 * numbers.scales.size());
    for (std::size_t i = 0; i < numbers.scales.size(); ++i) {
      scales[2 * i] = numbers.scales[i];
      scales[2 * i + 1] = -static_cast<float>(numbers.zeros[i]) * numbers.scales[i];
    }
    pack_halves(numbers.numbers, static_cast<std::size_t>(spec.columns), {out, size});
  }
  return WeightTensor({{out, size}, format, spec.rows, spec.columns, scales});
}

absl::StatusOr<WeightTensor> QuantisedTensors::fetch(const WeightSpec& spec) {
  COPPICE_ASSIGN_OR_RETURN(const Parts parts, parts_of(spec));
  return parts.layout == Layout::kFp8 ? fetch_fp8(spec, parts) : fetch_whole_numbers(spec, parts);
}

void QuantisedTensors::release(const WeightSpec& spec) {
  blocks_.give_back(spec.name);
  scales_.erase(spec.name);
}

}  // namespace coppice::models
