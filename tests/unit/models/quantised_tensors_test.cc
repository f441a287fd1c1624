// Quantised matrices of checkpoints: their numbers against sums of their definition in double, and files that are
// wrong. Whole models of every format: tests/e2e/test_quantised_checkpoints.py.
#include "models/quantised_tensors.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/float_formats.h"
#include "tests/support/safetensors_bytes.h"

namespace coppice::models {
namespace {

using kernels::WeightFormat;
using kernels::WeightKind;
using nlohmann::json;

// A safetensors file in the making.
class File {
 public:
  template <typename Number>
  File& add(const std::string& name, const char* dtype, const std::vector<std::int64_t>& shape,
            const std::vector<Number>& numbers) {
    const std::size_t begin = data_.size();
    data_.resize(begin + numbers.size() * sizeof(Number));
    if (!numbers.empty()) {
      std::memcpy(data_.data() + begin, numbers.data(), numbers.size() * sizeof(Number));
    }
    header_[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, data_.size()}}};
    return *this;
  }
  std::string text() const { return tests::safetensors_file(header_.dump(), data_); }

 private:
  json header_ = json::object();
  std::string data_;
};

struct Read {
  absl::Status status;
  QuantisedTensors::Facts facts;
  std::vector<float> numbers;
};

// "m.weight" of a file whose config.json has this quantization_config.
Read read(const File& file, const json& config, std::int64_t rows, std::int64_t columns) {
  const tests::TemporaryFolder folder;
  folder.write("model.safetensors", file.text());
  const auto opened = SafetensorsFolder::open(folder.path());
  REQUIRE(opened.ok());
  const auto quantisation = parse_quantisation(config, "config.json");
  INFO(quantisation.status().message());
  REQUIRE(quantisation.ok());
  const WeightSpec spec{.name = "m.weight", .rows = rows, .columns = columns};
  QuantisedTensors tensors(*opened, *quantisation);
  REQUIRE(tensors.holds(spec));
  Read out;
  const auto facts = tensors.check(spec);
  if (!facts.ok()) {
    out.status = facts.status();
    return out;
  }
  out.facts = *facts;
  const auto fetched = tensors.fetch(spec);
  if (!fetched.ok()) {
    out.status = fetched.status();
    return out;
  }
  out.numbers.resize(static_cast<std::size_t>(rows * columns));
  convert_to_float(fetched->view(), out.numbers);
  return out;
}

const json kFp8 = {{"quant_method", "fp8"}};

json compressed(const char* format, std::vector<json> weights) {
  json groups = json::object();
  for (const json& one : weights) {
    groups["group_" + std::to_string(groups.size())] = {{"targets", {"Linear"}}, {"weights", one}};
  }
  return {{"quant_method", "compressed-tensors"}, {"format", format}, {"config_groups", groups}};
}

// What E4M3 defines, in double.
double e4m3(int bits) {
  const int exponent = bits >> 3 & 15;
  const int fraction = bits & 7;
  const double magnitude = exponent == 0 ? fraction * 0x1.0p-9 : std::ldexp(8 + fraction, exponent - 10);
  return bits >= 128 ? -magnitude : magnitude;
}

// Every code that is a number, row by row; zeros behind them.
std::vector<std::uint8_t> codes(std::int64_t rows, std::int64_t columns) {
  std::vector<std::uint8_t> out(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto code = static_cast<std::uint8_t>(i * 37);  // odd: each of 256 in turn
    out[i] = (code & 0x7F) == 0x7F ? std::uint8_t{0} : code;
  }
  return out;
}

TEST_CASE("quantised tensors: FP8 in every shape of scales is, in float32, what its definition says") {
  constexpr std::int64_t kRows = 130;
  constexpr std::int64_t kColumns = 260;
  const std::vector<std::uint8_t> bits = codes(kRows, kColumns);
  struct Case {
    const char* name;
    std::vector<std::int64_t> shape;
    json config;
  };
  const Case one = GENERATE(
      Case{"weight_scale", {}, kFp8}, Case{"weight_scale", {1}, kFp8}, Case{"weight_scale", {1, 1}, kFp8},
      Case{"weight_scale", {kRows}, kFp8},
      Case{"weight_scale", {}, {{"quant_method", "modelopt"}, {"quant_algo", "FP8"}, {"kv_cache_scheme", nullptr}}},
      Case{"weight_scale", {kRows, 1}, compressed("float-quantized", {{{"num_bits", 8}, {"type", "float"}}})},
      Case{"weight_scale_inv", {2, 3}, {{"quant_method", "fp8"}, {"weight_block_size", {128, 128}}}},
      Case{"weight_scale",
           {2, 3},
           compressed("float-quantized",
                      {{{"num_bits", 8}, {"type", "float"}, {"block_structure", {128, 128}}, {"strategy", "block"}}})});
  std::size_t count = 1;
  for (const std::int64_t size : one.shape) {
    count *= static_cast<std::size_t>(size);
  }
  std::vector<float> scales;
  for (std::size_t i = 0; i < count; ++i) {
    scales.push_back(0.0123F * static_cast<float>(i + 1));
  }
  const File file = File()
                        .add("m.weight", "F8_E4M3", {kRows, kColumns}, bits)
                        .add(std::string("m.") + one.name, "F32", one.shape, scales);
  const Read got = read(file, one.config, kRows, kColumns);
  INFO(got.status.message());
  REQUIRE(got.status.ok());
  CHECK(got.facts.stored.format == WeightFormat{WeightKind::kFp8, count == 6 ? 128 : 0});
  std::size_t wrong = 0;
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t column = 0; column < kColumns; ++column) {
      const auto at = static_cast<std::size_t>(row * kColumns + column);
      const auto scale = static_cast<std::size_t>(count == 1 ? 0 : count == 6 ? row / 128 * 3 + column / 128 : row);
      wrong += got.numbers[at] != static_cast<float>(e4m3(bits[at]) * double{scales[scale]}) ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("quantised tensors: FP8 files that are wrong are named") {
  const std::vector<std::uint8_t> bits(256 * 2, 0x38);
  const auto file = [&](const std::vector<std::uint8_t>& numbers) {
    return File().add("m.weight", "F8_E4M3", {2, 256}, numbers);
  };
  const auto message = [](const File& made) { return std::string(read(made, kFp8, 2, 256).status.message()); };
  CHECK(message(file(bits)).find("its scales are missing") != std::string::npos);
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{{3}, {1, 2, 1}, {2, 2}, {0}}) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) {
      count *= static_cast<std::size_t>(size);
    }
    const File made = file(bits).add("m.weight_scale", "F32", shape, std::vector<float>(count, 1.0F));
    INFO(shape.size());
    CHECK(message(made).find("expected scales of one, 2 or, in FP8, 1 × 2 numbers") != std::string::npos);
  }
  CHECK(
      message(file(bits).add("m.weight_scale", "U8", {1}, std::vector<std::uint8_t>{127})).find("expected scales in") !=
      std::string::npos);
  for (const std::uint8_t code : {std::uint8_t{0x7F}, std::uint8_t{0xFF}}) {
    std::vector<std::uint8_t> damaged = bits;
    damaged.back() = code;
    CHECK(message(file(damaged).add("m.weight_scale", "F32", {1}, std::vector<float>{1.0F})).find("holds NaN") !=
          std::string::npos);
  }
  for (const float scale : {NAN, INFINITY, 1e38F}) {
    CHECK(message(file(bits).add("m.weight_scale", "F32", {1}, std::vector<float>{scale})).find("a scale is NaN") !=
          std::string::npos);
  }
  std::vector<std::uint8_t> large = bits;
  large.back() = 0x7E;  // 448
  CHECK(
      message(file(large).add("m.weight_scale", "F32", {1}, std::vector<float>{1e36F})).find("holds NaN or infinity") !=
      std::string::npos);
}

std::vector<std::uint32_t> words(std::size_t count) {
  std::vector<std::uint32_t> out(count);
  std::uint32_t state = 7;
  for (std::uint32_t& word : out) {
    state = state * 1664525U + 1013904223U;  // Numerical Recipes' linear congruential generator
    word = state;
  }
  return out;
}

TEST_CASE("quantised tensors: matrices of one file have bits and groups of their own where its config has several") {
  const json config = compressed("mixed-precision", {{{"num_bits", 4}, {"group_size", 32}},
                                                     {{"num_bits", 8}, {"group_size", 64}},
                                                     {{"num_bits", 8}, {"type", "float"}, {"strategy", "channel"}}});
  constexpr std::int64_t kColumns = 64;
  for (const std::int64_t bits : {4, 8}) {
    const std::int64_t group = bits == 4 ? 32 : 64;
    const std::vector<std::uint32_t> packed = words(static_cast<std::size_t>(2 * kColumns * bits / 32));
    const std::vector<float> scales(static_cast<std::size_t>(2 * kColumns / group), 0.5F);
    const File file = File()
                          .add("m.weight_packed", "I32", {2, kColumns * bits / 32}, packed)
                          .add("m.weight_scale", "F32", {2, kColumns / group}, scales);
    const Read got = read(file, config, 2, kColumns);
    INFO(got.status.message());
    REQUIRE(got.status.ok());
    CHECK(got.facts.stored.format.kind == (bits == 4 ? WeightKind::kInt4 : WeightKind::kInt8));
    CHECK(got.facts.stored.format.group == (bits == 4 ? 32 : 0));
    for (std::size_t i = 0; i < got.numbers.size(); ++i) {
      const std::size_t per_word = 32 / static_cast<std::size_t>(bits);
      const std::uint32_t whole = packed[i / per_word] >> (i % per_word * static_cast<std::size_t>(bits)) &
                                  ((1U << static_cast<std::uint32_t>(bits)) - 1);
      const double expected = (static_cast<double>(whole) - (bits == 4 ? 8 : 128)) * 0.5;
      REQUIRE(got.numbers[i] == static_cast<float>(expected));
    }
  }
  const File fp8 = File()
                       .add("m.weight", "F8_E4M3", {2, kColumns}, std::vector<std::uint8_t>(2 * kColumns, 0x3C))
                       .add("m.weight_scale", "F32", {2, 1}, std::vector<float>{2.0F, 4.0F});
  const Read got = read(fp8, config, 2, kColumns);
  REQUIRE(got.status.ok());
  CHECK(got.facts.stored.format.kind == WeightKind::kFp8);
  CHECK(got.numbers.front() == 3.0F);
  CHECK(got.numbers.back() == 6.0F);
  const auto four_bits = parse_quantisation({{"quant_method", "modelopt"}, {"quant_algo", "NVFP4"}}, "config.json");
  CHECK(std::string(four_bits.status().message()).find("modelopt quant_algo \"NVFP4\"") != std::string::npos);
  for (const char* format : {"nvfp4-pack-quantized", "marlin-24"}) {
    json other = config;
    other["config_groups"]["group_0"]["format"] = format;
    const auto parsed = parse_quantisation(other, "config.json");
    CHECK(std::string(parsed.status().message()).find(format) != std::string::npos);
  }
}

TEST_CASE("quantised tensors: GPTQ's columns of a group lie where g_idx says") {
  constexpr std::int64_t kColumns = 64;
  constexpr std::int64_t kRows = 8;
  const bool is_scattered = GENERATE(true, false);
  const std::int64_t bits = GENERATE(4, 8);
  const std::int64_t per_word = 32 / bits;
  const std::vector<std::uint32_t> packed = words(static_cast<std::size_t>(kColumns / per_word * kRows));
  const std::vector<std::uint32_t> zeros(static_cast<std::size_t>(2 * kRows / per_word), bits == 4 ? 0x53535353 : 0x40);
  std::vector<float> scales;
  for (int i = 0; i < 2 * kRows; ++i) {
    scales.push_back(0.25F * static_cast<float>(i + 1));
  }
  std::vector<std::int32_t> order;
  for (std::int32_t column = 0; column < kColumns; ++column) {
    order.push_back(is_scattered ? column % 2 : column / 32);
  }
  const File file = File()
                        .add("m.qweight", "I32", {kColumns / per_word, kRows}, packed)
                        .add("m.qzeros", "I32", {2, kRows / per_word}, zeros)
                        .add("m.scales", "F32", {2, kRows}, scales)
                        .add("m.g_idx", "I32", {kColumns}, order);
  // `dynamic`: bits and groups of single matrices, which their shapes show.
  json config = {{"quant_method", "gptq"}, {"bits", 4}, {"group_size", 128}, {"dynamic", {{"m", {{"bits", bits}}}}}};
  const Read got = read(file, config, kRows, kColumns);
  INFO(got.status.message());
  REQUIRE(got.status.ok());
  const std::string name = bits == 4 ? "int4" : "int8";
  CHECK(got.facts.stored.widened_from == (is_scattered ? name + " with an order of columns"
                                          : bits == 8  ? name + " with zeros"
                                                       : ""));
  CHECK((got.facts.stored.format.kind == WeightKind::kF32) == !got.facts.stored.widened_from.empty());
  for (std::int64_t row = 0; row < kRows; ++row) {
    for (std::int64_t column = 0; column < kColumns; ++column) {
      const auto mask = static_cast<std::uint32_t>((1U << static_cast<std::uint32_t>(bits)) - 1);
      const auto part = [&](std::uint32_t word, std::int64_t i) {
        return static_cast<double>(word >> static_cast<std::uint32_t>(i * bits) & mask);
      };
      const std::int64_t group = order[static_cast<std::size_t>(column)];
      const double whole = part(packed[static_cast<std::size_t>(column / per_word * kRows + row)], column % per_word);
      const double zero =
          part(zeros[static_cast<std::size_t>(group * (kRows / per_word) + row / per_word)], row % per_word) + 1;
      const double expected = (whole - zero) * double{scales[static_cast<std::size_t>(group * kRows + row)]};
      REQUIRE(got.numbers[static_cast<std::size_t>(row * kColumns + column)] == Approx(expected).epsilon(1e-6));
    }
  }
}

// Others pack columns into words, which an odd number of them does not fill.
TEST_CASE("quantised tensors: AWQ's matrix may have an odd number of columns, in groups of any size") {
  constexpr std::int64_t kRows = 8;
  constexpr std::int64_t kColumns = 33;
  constexpr std::array<std::int64_t, 8> kParts = {0, 4, 1, 5, 2, 6, 3, 7};  // where in its word row i stands
  const std::int64_t groups = GENERATE(1, 3, 11, 33);
  const std::vector<std::uint32_t> packed = words(kColumns);
  const std::vector<std::uint32_t> zeros(static_cast<std::size_t>(groups), 0x76543210);
  std::vector<float> scales;
  for (std::int64_t i = 0; i < groups * kRows; ++i) {
    scales.push_back(0.25F * static_cast<float>(i + 1));
  }
  const File file = File()
                        .add("m.qweight", "I32", {kColumns, kRows / 8}, packed)
                        .add("m.qzeros", "I32", {groups, kRows / 8}, zeros)
                        .add("m.scales", "F32", {groups, kRows}, scales);
  const Read got = read(file, {{"quant_method", "awq"}, {"bits", 4}, {"group_size", -1}}, kRows, kColumns);
  INFO(got.status.message());
  REQUIRE(got.status.ok());
  std::size_t wrong = 0;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const std::int64_t part = kParts[static_cast<std::size_t>(row)];
    for (std::int64_t column = 0; column < kColumns; ++column) {
      const std::int64_t group = column / (kColumns / groups);
      const auto whole = packed[static_cast<std::size_t>(column)] >> static_cast<std::uint32_t>(4 * part) & 15U;
      const double scale = scales[static_cast<std::size_t>(group * kRows + row)];
      const double expected = (static_cast<double>(whole) - static_cast<double>(part)) * scale;
      const float number = got.numbers[static_cast<std::size_t>(row * kColumns + column)];
      wrong += std::abs(number - expected) > 1e-4 * scale ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace coppice::models
