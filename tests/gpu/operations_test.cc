// Every operation of the CUDA backend but attention against the CPU backend and float64, through the Backend interface:
// uploads, packing, every type, odd sizes, the same bits for every number of rows.
#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <thread>

#include "server/app/device_options.h"
#include "tests/gpu/device.h"
#include "tests/unit/kernels/kernel_support.h"

namespace coppice::kernels::test {
namespace {

using tests::device_is_emulated;
using tests::device_report;
using tests::open_device;
using tests::open_device_with;

// A tensor on the backend under test.
class OnDevice {
 public:
  OnDevice(Backend& backend, const Tensor& tensor) : OnDevice(backend, tensor.dtype, tensor.rows, tensor.columns) {
    backend.device().upload(tensor.bytes.data(), buffer_.data(), tensor.bytes.size());
  }
  OnDevice(Backend& backend, ComputeType dtype, std::int64_t rows, std::int64_t columns)
      : backend_(backend),
        shape_(dtype, rows, columns),
        buffer_(backend.device().allocate(shape_.bytes.size() + 16).value()) {}

  Matrix matrix() const { return buffer_.matrix(shape_.dtype, shape_.rows, shape_.columns); }
  Tensor fetch() const {
    Tensor out = shape_;
    backend_.device().download(buffer_.data(), out.bytes.data(), out.bytes.size());
    return out;
  }
  template <typename T>
  const T* as() const {
    return static_cast<const T*>(buffer_.data());
  }

 private:
  Backend& backend_;
  Tensor shape_;
  Buffer buffer_;
};

// Words on the device.
template <typename T>
Buffer upload_words(Backend& backend, const std::vector<T>& words) {
  Buffer buffer = backend.device().allocate(words.size() * sizeof(T)).value();
  backend.device().upload(words.data(), buffer.data(), words.size() * sizeof(T));
  return buffer;
}

TEST_CASE("memory: zeroed, and what goes up comes down") {
  const auto device = open_device();
  // More than the ring of page-locked memory holds, in odd pieces.
  const std::size_t bytes = (std::size_t{device_is_emulated() ? 33U : 300U} << 20) + 12345;
  std::vector<std::uint8_t> data(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    data[i] = static_cast<std::uint8_t>(i * 2654435761U >> 13);
  }
  const std::int64_t before = device->device().available_bytes();
  const Buffer buffer = device->device().allocate(bytes).value();
  CHECK(device->device().available_bytes() < before);
  std::vector<std::uint8_t> back(bytes, 1);
  device->device().download(buffer.data(), back.data(), bytes);
  CHECK(std::ranges::count(back, 0) == static_cast<std::ptrdiff_t>(bytes));
  std::size_t done = 0;
  for (const std::size_t part : {std::size_t{1}, std::size_t{1000}, std::size_t{3} << 20, bytes}) {
    const std::size_t count = std::min(part, bytes - done);
    device->device().upload(data.data() + done, static_cast<std::uint8_t*>(buffer.data()) + done, count);
    done += count;
  }
  device->device().download(buffer.data(), back.data(), bytes);
  CHECK(back == data);
  CHECK(device->device().allocate(std::size_t{1} << 50).status().code() == absl::StatusCode::kResourceExhausted);
}

float rounded(float value, ComputeType dtype) {
  return dtype == ComputeType::kF32    ? value
         : dtype == ComputeType::kBF16 ? from_bf16(to_bf16(value))
                                       : from_f16(to_f16(value));
}

TEST_CASE("linear: stacked parts, converted, with biases; float64's numbers; the same bits for every number of rows") {
  const auto device = open_device();
  struct Shape {
    std::vector<std::int64_t> parts;
    std::int64_t in_features;
  };
  std::vector<Shape> shapes = {{{40, 24}, 100}, {{70}, 264}, {{64, 8, 8}, 512}};
  if (!device_is_emulated()) {
    shapes.insert(shapes.end(), {{{4096, 1024, 1024}, 4096}, {{4096}, 14336}, {{768}, 768}, {{32000}, 2048}});
  }
  for (const Shape& shape : shapes) {
    for (const auto& [stored, dtype] :
         {std::pair{ComputeType::kF32, ComputeType::kBF16}, std::pair{ComputeType::kBF16, ComputeType::kBF16},
          std::pair{ComputeType::kF32, ComputeType::kF16}, std::pair{ComputeType::kBF16, ComputeType::kF16},
          std::pair{ComputeType::kF16, ComputeType::kF16}, std::pair{ComputeType::kBF16, ComputeType::kF32}}) {
      std::vector<Tensor> parts;
      std::vector<Tensor> biases;
      std::vector<HostWeight> views;
      std::vector<HostWeight> bias_views;
      for (const std::int64_t rows : shape.parts) {
        parts.push_back(random_tensor(stored, rows, shape.in_features, static_cast<std::uint32_t>(rows)));
        biases.push_back(random_tensor(ComputeType::kF32, 1, rows, 5));
      }
      std::int64_t out_features = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        views.push_back(parts[i].host());
        bias_views.push_back(i == 1 ? HostWeight{} : biases[i].host());
        out_features += parts[i].rows;
      }
      const auto weight = device->device().pack_linear(views, bias_views, dense_packing(dtype)).value();
      const std::int64_t rows_most = device_is_emulated() ? 40 : 700;
      const Tensor in = random_tensor(dtype, rows_most, shape.in_features, 9);
      const OnDevice device_in(*device, in);
      const OnDevice whole(*device, ComputeType::kF32, rows_most, out_features);
      device->operations().linear(device_in.matrix(), *weight, LinearEpilogue::kStore, whole.matrix());
      const Tensor expected = whole.fetch();
      // A sample of elements against float64.
      std::mt19937 generator(3);
      for (int i = 0; i < 500; ++i) {
        const std::int64_t row = static_cast<std::int64_t>(generator()) % rows_most;
        std::int64_t column = static_cast<std::int64_t>(generator()) % out_features;
        const std::int64_t at = column;
        std::size_t part = 0;
        while (column >= parts[part].rows) {
          column -= parts[part++].rows;
        }
        double sum = part == 1 ? 0.0 : biases[part].at(0, column);
        double magnitude = std::abs(sum);
        for (std::int64_t k = 0; k < shape.in_features; ++k) {
          const double product = double{in.at(row, k)} * rounded(parts[part].at(column, k), dtype);
          sum += product;
          magnitude += std::abs(product);
        }
        CHECK(std::abs(expected.at(row, at) - sum) <= 2e-6 * (magnitude + 1.0));
      }
      for (const std::int64_t rows : {1, 2, 8, 15, 16, 17, 33, 64, 65, 128, 129, 300}) {
        if (rows > rows_most) {
          continue;
        }
        const OnDevice out(*device, ComputeType::kF32, rows, out_features);
        device->operations().linear(device_in.matrix().first_rows(rows), *weight, LinearEpilogue::kStore, out.matrix());
        const Tensor got = out.fetch();
        INFO(out_features << " x " << shape.in_features << ", " << rows << " rows");
        CHECK(std::memcmp(got.bytes.data(), expected.bytes.data(), got.bytes.size()) == 0);
      }
      CHECK(device_report() == "");
    }
  }
}

// On a GPU only where the environment asks: kernels that have never run there may take the whole test down with them.
TEST_CASE("linear on Hopper: asked for, products by wgmma are used only if they change no bit", "[wgmma]") {
  if (!device_is_emulated() && !server::cuda_options_from_environment().wgmma) {
    WARN("left out: COPPICE_CUDA_WGMMA is not 1");
    return;
  }
  const auto plain = open_device_with({.wgmma = false});
  const auto hopper = open_device_with({.wgmma = true});
  CHECK(plain->device().description().find("wgmma") == std::string::npos);
  const std::string description = hopper->device().description();
  const std::size_t verdict = description.find("wgmma");
  if (verdict == std::string::npos) {
    WARN("no GPU of compute capability 9.0");
    return;
  }
  std::printf("{\"wgmma\":\"%s\"}\n", description.c_str() + verdict);
  if (device_is_emulated()) {
    CHECK(description.find("in 20 of 20 products: used") != std::string::npos);
  }
  struct Shape {
    std::int64_t rows;
    std::int64_t out_features;
    std::int64_t in_features;
  };
  std::vector<Shape> shapes = {{20, 132 * 128, 72}};  // as few tiles as the large kernels are taken for
  if (!device_is_emulated()) {
    shapes = {{2048, 4096, 4096}, {1000, 28672, 4096}, {3000, 6144, 4096}, {777, 4100, 14336}};
  }
  for (const Shape& shape : shapes) {
    INFO(shape.rows << " x " << shape.out_features << " x " << shape.in_features);
    const Tensor matrix = random_tensor(ComputeType::kBF16, shape.out_features, shape.in_features, 31);
    const Tensor in = random_tensor(ComputeType::kBF16, shape.rows, shape.in_features, 32);
    const HostWeight view = matrix.host();
    const HostWeight no_bias;
    Tensor results[2] = {Tensor(ComputeType::kF32, 0, 0), Tensor(ComputeType::kF32, 0, 0)};
    for (int i = 0; i < 2; ++i) {
      Backend& device = i == 0 ? *plain : *hopper;
      const auto weight =
          device.device().pack_linear({&view, 1}, {&no_bias, 1}, dense_packing(ComputeType::kBF16)).value();
      const OnDevice device_in(device, in);
      const OnDevice out(device, ComputeType::kF32, shape.rows, shape.out_features);
      device.operations().linear(device_in.matrix(), *weight, LinearEpilogue::kStore, out.matrix());
      results[i] = out.fetch();
    }
    CHECK(results[0].bytes == results[1].bytes);
    CHECK(results[1].at(shape.rows - 1, shape.out_features - 1) != 0.0F);
  }
  CHECK(device_report() == "");
}

TEST_CASE("row-wise operations are the CPU's") {
  const auto device = open_device();
  const auto cpu = make_backend(1);
  const std::int64_t rows = device_is_emulated() ? 5 : 333;
  for (const std::int64_t columns : {64, 250, 4096}) {
    Tensor x = random_tensor(ComputeType::kF32, rows, columns, 1);
    const Tensor weight = random_tensor(ComputeType::kF32, 1, columns, 2);
    Tensor table = random_tensor(ComputeType::kBF16, 50, columns, 3);
    Tensor gate_up = random_tensor(ComputeType::kF32, rows, 2 * columns, 4);
    std::vector<TokenId> tokens;
    std::vector<std::int32_t> picked;
    for (std::int64_t i = 0; i < rows; ++i) {
      tokens.push_back(static_cast<TokenId>(i * 7 % 50));
      picked.push_back(static_cast<std::int32_t>(i * 3 % rows));
    }
    const OnDevice device_x(*device, x);
    const OnDevice device_weight(*device, weight);
    const OnDevice device_table(*device, table);
    const OnDevice device_gate_up(*device, gate_up);
    const Buffer device_tokens = upload_words(*device, tokens);
    const Buffer device_picked = upload_words(*device, picked);
    const OnDevice out(*device, ComputeType::kF32, rows, columns);
    Tensor expected(ComputeType::kF32, rows, columns);

    device->operations().embed({static_cast<const TokenId*>(device_tokens.data()), tokens.size()},
                               table_of(device_table.matrix()), out.matrix());
    cpu->operations().embed(tokens, table_of(table.matrix()), expected.matrix());
    CHECK(out.fetch().bytes == expected.bytes);
    device->operations().gather_rows(
        device_x.matrix(), {static_cast<const std::int32_t*>(device_picked.data()), picked.size()}, out.matrix());
    cpu->operations().gather_rows(x.matrix(), picked, expected.matrix());
    CHECK(out.fetch().bytes == expected.bytes);
    device->operations().rms_norm(device_x.matrix(), device_weight.as<float>(), 1e-5F, out.matrix());
    cpu->operations().rms_norm(x.matrix(), reinterpret_cast<const float*>(weight.bytes.data()), 1e-5F,
                               expected.matrix());
    CHECK(largest_difference(out.fetch(), expected) < 2e-6);
    device->operations().swiglu(device_gate_up.matrix(), out.matrix());
    cpu->operations().swiglu(gate_up.matrix(), expected.matrix());
    CHECK(largest_difference(out.fetch(), expected) < 2e-6);
    CHECK(device_report() == "");
  }
}

// f16 is unknown to the CPU backend: what it computes in f32 from the same numbers is the judge of both.
TEST_CASE("norms and activations in half are the CPU's, rounded") {
  const auto device = open_device();
  const auto cpu = make_backend(1);
  const std::int64_t rows = device_is_emulated() ? 3 : 100;
  for (const ComputeType dtype : {ComputeType::kBF16, ComputeType::kF16}) {
    const double tolerance = dtype == ComputeType::kBF16 ? 0x1.0p-7 : 0x1.0p-10;
    for (const std::int64_t columns : {64, 250, 1032}) {
      INFO(format_name(dtype) << ", " << columns);
      Tensor x = random_tensor(ComputeType::kF32, rows, columns, 11);
      const Tensor weight = random_tensor(ComputeType::kF32, 1, columns, 12);
      Tensor gate_up(dtype, rows, 2 * columns);
      Tensor wide_gate_up(ComputeType::kF32, rows, 2 * columns);
      const Tensor numbers = random_tensor(ComputeType::kF32, rows, 2 * columns, 13);
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t column = 0; column < 2 * columns; ++column) {
          gate_up.set(row, column, numbers.at(row, column));
          wide_gate_up.set(row, column, gate_up.at(row, column));
        }
      }
      const OnDevice device_x(*device, x);
      const OnDevice device_weight(*device, weight);
      const OnDevice device_gate_up(*device, gate_up);
      const OnDevice out(*device, dtype, rows, columns);
      Tensor expected(ComputeType::kF32, rows, columns);
      device->operations().rms_norm(device_x.matrix(), device_weight.as<float>(), 1e-5F, out.matrix());
      cpu->operations().rms_norm(x.matrix(), reinterpret_cast<const float*>(weight.bytes.data()), 1e-5F,
                                 expected.matrix());
      CHECK(largest_difference(out.fetch(), expected) < tolerance);
      device->operations().swiglu(device_gate_up.matrix(), out.matrix());
      cpu->operations().swiglu(wide_gate_up.matrix(), expected.matrix());
      CHECK(largest_difference(out.fetch(), expected) < tolerance);
      CHECK(device_report() == "");
    }
  }
}

TEST_CASE("sampling draws the CPU's tokens") {
  if (cpu::best_isa() == cpu::Isa::kGeneric) {
    WARN("this CPU has no fused multiply-add: its weights differ from a GPU's in the last bit");
    return;
  }
  const auto device = open_device();
  const auto cpu = make_backend(1);
  const std::int64_t rows = device_is_emulated() ? 6 : 256;
  const std::int64_t vocab = device_is_emulated() ? 1531 : 128256;
  Tensor logits = random_tensor(ComputeType::kF32, rows, vocab, 8);
  const std::vector<TokenCount> counts = {{3, 2}, {7, 0}, {static_cast<TokenId>(vocab - 1), 5}};
  const std::vector<TokenBias> biases = {{5, 4.0F}, {11, -100.0F}};
  std::vector<SamplingRow> requests(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < requests.size(); ++i) {
    SamplingRow& row = requests[i];
    row.temperature = i % 5 == 0 ? 0.0F : 0.4F + 0.1F * static_cast<float>(i % 7);
    row.top_k = i % 3 == 0 ? 50 : 0;
    row.top_p = i % 2 == 0 ? 0.9F : 1.0F;
    row.min_p = i % 4 == 1 ? 0.02F : 0.0F;
    row.seed = 1000 + i;
    row.position = i * i;
    row.top_logprobs = i % 6 == 2 ? 5 : -1;
    if (i % 4 == 2) {
      row.repetition_penalty = 1.2F;
      row.counts = counts;
      row.biases = biases;
    }
  }
  const OnDevice device_logits(*device, logits);
  std::vector<SamplingResult> got;
  // From another thread, as the engine does.
  std::thread([&] { got = sample(*device, device_logits.matrix(), requests); }).join();
  const std::vector<SamplingResult> expected = sample(*cpu, logits.matrix(), requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    INFO("row " << i);
    CHECK(got[i].token == expected[i].token);
    CHECK(got[i].logprob == Approx(expected[i].logprob).margin(1e-4));
    REQUIRE(got[i].top.size() == expected[i].top.size());
    for (std::size_t k = 0; k < got[i].top.size(); ++k) {
      CHECK(got[i].top[k].token == expected[i].top[k].token);
    }
  }
  CHECK(device_report() == "");
}

TEST_CASE("a KV cache that attention cannot serve is refused with a reason") {
  const auto device = open_device();
  const KvGeometry good{.layers = 1, .key_heads = 1, .head_dim = 64, .page_size = 16, .pages = 2, .format = {}};
  CHECK(device->device().make_kv_cache(good).value()->workers() > 0);
  for (const KvGeometry& bad :
       {KvGeometry{1, 1, 12, 16, 2, {KvKind::kBF16}}, KvGeometry{1, 1, 64, 24, 2, {KvKind::kF16}},
        KvGeometry{1, 1, 264, 16, 2, {KvKind::kF32}}, KvGeometry{1, 1, 64, 16, 2, {KvKind::kInt8}}}) {
    CHECK(device->device().make_kv_cache(bad).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace coppice::kernels::test
