// Sampling on the GPU, run on the emulator, against the CPU's: the same tokens, ranks and most likely tokens, logprobs
// to float32's rounding, for random requests over random, coarse (many equal) and broken logits.
#include <catch2/catch.hpp>

#include "kernels/cpu/sample.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/sampling/pack.h"
#include "tests/simt/device_matrix.h"

namespace coppice::kernels::test {
namespace {

// Owns what a SamplingRow's spans show.
struct Request {
  SamplingRow row;
  std::vector<TokenCount> counts;
  std::vector<TokenBias> biases;
  std::vector<TokenId> forbidden;
  std::vector<std::uint32_t> allowed;
  std::vector<TokenId> labels;
};

std::int32_t below(std::mt19937& generator, std::int64_t end) {
  return static_cast<std::int32_t>(generator() % static_cast<std::uint64_t>(end));
}

template <typename T>
T one_of(std::mt19937& generator, std::initializer_list<T> values) {
  return values.begin()[below(generator, static_cast<std::int64_t>(values.size()))];
}

Request random_request(std::mt19937& generator, std::int64_t vocab) {
  Request request;
  SamplingRow& row = request.row;
  row.temperature = one_of(generator, {0.0F, 0.3F, 1.0F, 1.0F, 2.5F, 1e-20F, 1e38F});
  row.top_k = one_of(generator, {0, 0, 1, 2, 5, 40, 1000000});
  row.top_p = one_of(generator, {1.0F, 1.0F, 0.9F, 0.5F, 0.01F, 0.0F});
  row.min_p = one_of(generator, {0.0F, 0.0F, 0.05F, 1.0F});
  row.seed = (std::uint64_t{generator()} << 32) | generator();
  row.position = generator();
  row.top_logprobs = one_of(generator, {-1, -1, 0, 1, 5, 20});
  row.scored = one_of(generator, {-1, -1, -1, below(generator, vocab)});
  if (below(generator, 3) == 0) {
    row.repetition_penalty = 1.3F;
    row.presence_penalty = 0.4F;
    row.frequency_penalty = 0.25F;
    for (TokenId token = below(generator, 3); token < vocab; token += 1 + below(generator, vocab)) {
      request.counts.push_back({token, below(generator, 4)});
    }
  }
  for (std::int32_t i = below(generator, 3) == 0 ? 4 : 0; i > 0; --i) {
    // The same token may come twice; some are beyond the vocabulary.
    request.biases.push_back({below(generator, vocab + 1) / 2 * 2, one_of(generator, {-100.0F, 1.1F, 0.3F, 7.0F})});
  }
  for (std::int32_t i = below(generator, 4) == 0 ? 3 : 0; i > 0; --i) {
    request.forbidden.push_back(below(generator, vocab));
  }
  for (std::int32_t i = below(generator, 3) == 0 ? 5 : 0; i > 0; --i) {
    request.labels.push_back(below(generator, vocab));
  }
  if (below(generator, 4) == 0) {
    request.allowed.resize(static_cast<std::size_t>(1 + below(generator, (vocab + 31) / 32)));
    for (std::uint32_t& word : request.allowed) {
      word = one_of<std::uint32_t>(generator, {0U, 0xFFFFFFFFU, static_cast<std::uint32_t>(generator())});
    }
  }
  return request;
}

enum class Logits { kSmooth, kCoarse, kExtreme, kHopeless, kBroken };

Tensor random_logits(std::mt19937& generator, std::int64_t rows, std::int64_t vocab, Logits kind) {
  Tensor logits = random_tensor(ComputeType::kF32, rows, vocab, static_cast<std::uint32_t>(generator()));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t token = 0; token < vocab; ++token) {
      float x = 3.0F * logits.at(row, token);
      if (kind == Logits::kCoarse) {
        x = std::round(x);
      } else if (kind == Logits::kExtreme) {
        x = one_of(generator, {x, x, x, -INFINITY, -0.0F, 0.0F, 3e38F, -3e38F});
      } else if (kind == Logits::kHopeless) {
        x = -INFINITY;
      } else if (kind == Logits::kBroken && token == row % vocab) {
        x = one_of(generator, {x, NAN, INFINITY});
      }
      logits.set(row, token, x);
    }
  }
  return logits;
}

// gap: elements between the rows of logits.
std::vector<SamplingResult> sample_on_gpu(const Tensor& logits, std::span<const SamplingRow> rows,
                                          std::int64_t gap = 3) {
  DeviceMatrix device(logits, gap);
  cuda::PackedSampling packed;
  packed.pack(rows, logits.columns);
  const std::size_t capacity = static_cast<std::size_t>(packed.top_capacity);
  const simt::Buffer<cuda::SampleRow> device_rows(std::span<const cuda::SampleRow>(packed.rows), "rows");
  const simt::Buffer<cuda::SampleEdit> edits(std::span<const cuda::SampleEdit>(packed.edits), "edits");
  const simt::Buffer<std::uint32_t> allowed(std::span<const std::uint32_t>(packed.allowed), "allowed");
  simt::Buffer<float> saved(packed.edits.size(), "saved");
  simt::Buffer<cuda::SampleAnswer> answers(rows.size(), "answers");
  simt::Buffer<cuda::SampleTop> tops(rows.size() * capacity, "tops");
  const simt::Buffer<TokenId> labels(std::span<const TokenId>(packed.labels), "labels");
  simt::Buffer<float> label_logits(packed.labels.size(), "label logits");
  const cuda::SampleCall call{.logits = device.matrix(),
                              .rows = device_rows.data(),
                              .edits = edits.data(),
                              .saved = saved.data(),
                              .allowed = allowed.data(),
                              .answers = answers.data(),
                              .tops = tops.data(),
                              .top_capacity = packed.top_capacity,
                              .labels = labels.data(),
                              .label_logits = label_logits.data()};
  REQUIRE(cuda::launch_sample(call, {}) == 0);
  std::vector<SamplingResult> results;
  const float* labelled = label_logits.data();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto count = static_cast<std::size_t>(answers[i].top_count);
    const std::size_t label_count = rows[i].labels.size();
    results.push_back(
        cuda::unpack_sample(rows[i], answers[i], {{tops.data() + i * capacity, count}, {labelled, label_count}}));
    labelled += label_count;
  }
  return results;
}

void check_equal(const SamplingResult& gpu, const SamplingResult& cpu) {
  CHECK(gpu.is_broken == cpu.is_broken);
  CHECK(gpu.token == cpu.token);
  CHECK(std::abs(gpu.logprob - cpu.logprob) <= 2e-5 * (1.0 + std::abs(cpu.logprob)));
  REQUIRE(gpu.top.size() == cpu.top.size());
  for (std::size_t i = 0; i < gpu.top.size(); ++i) {
    CHECK(gpu.top[i].token == cpu.top[i].token);
    CHECK(std::abs(gpu.top[i].logprob - cpu.top[i].logprob) <= 2e-5 * (1.0 + std::abs(cpu.top[i].logprob)));
  }
  REQUIRE(gpu.labels.size() == cpu.labels.size());
  for (std::size_t i = 0; i < gpu.labels.size(); ++i) {
    CHECK(std::abs(gpu.labels[i] - cpu.labels[i]) <= 2e-5 * (1.0 + std::abs(cpu.labels[i])));
  }
}

TEST_CASE("the GPU draws what the CPU draws") {
  if (cpu::best_isa() == cpu::Isa::kGeneric) {
    WARN("this CPU has no fused multiply-add: its weights differ from a GPU's in the last bit");
    return;
  }
  const auto cpu = make_backend(1);
  std::mt19937 generator(31);
  for (const std::int64_t vocab : {1, 3, 32, 33, 1000, 2049, 5003}) {
    for (const Logits kind : {Logits::kSmooth, Logits::kCoarse, Logits::kExtreme, Logits::kHopeless, Logits::kBroken}) {
      simt::Session session({.seed = generator()});
      constexpr std::int64_t kRows = 12;
      std::vector<Request> requests;
      std::vector<SamplingRow> rows;
      for (std::int64_t i = 0; i < kRows; ++i) {
        requests.push_back(random_request(generator, vocab));
      }
      for (Request& request : requests) {
        request.row.counts = request.counts;
        request.row.biases = request.biases;
        request.row.forbidden = request.forbidden;
        request.row.allowed = request.allowed;
        request.row.labels = request.labels;
        rows.push_back(request.row);
      }
      const Tensor logits = random_logits(generator, kRows, vocab, kind);
      const std::vector<SamplingResult> gpu = sample_on_gpu(logits, rows);
      Tensor overwritten = logits;
      const std::vector<SamplingResult> expected = sample(*cpu, overwritten.matrix(), rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        INFO("vocab " << vocab << ", kind " << static_cast<int>(kind) << ", row " << i << ": t " << rows[i].temperature
                      << " k " << rows[i].top_k << " p " << rows[i].top_p << " min " << rows[i].min_p << " scored "
                      << rows[i].scored);
        check_equal(gpu[i], expected[i]);
      }
      CHECK(session.report() == "");
    }
  }
}

TEST_CASE("a draw does not depend on the other rows") {
  std::mt19937 generator(33);
  simt::Session session({.seed = 34});
  const Tensor logits = random_logits(generator, 3, 777, Logits::kSmooth);
  std::vector<SamplingRow> rows(3);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].seed = i;
    rows[i].top_p = 0.8F;
  }
  const std::vector<SamplingResult> together = sample_on_gpu(logits, rows);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Tensor alone(ComputeType::kF32, 1, 777);
    std::memcpy(alone.bytes.data(), logits.row_bytes(static_cast<std::int64_t>(i)).data(), alone.bytes.size());
    CHECK(sample_on_gpu(alone, std::span(rows).subspan(i, 1)).front().token == together[i].token);
  }
  CHECK(session.report() == "");
}

TEST_CASE("rows of logits that begin behind 2^31 elements are drawn from like others") {
  std::mt19937 generator(35);
  simt::Session session({.seed = 36});
  const Tensor logits = random_logits(generator, 5, 100, Logits::kSmooth);
  std::vector<SamplingRow> rows(5);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].seed = i;
    rows[i].top_p = 0.9F;
    rows[i].top_logprobs = 3;
  }
  const std::vector<SamplingResult> near = sample_on_gpu(logits, rows);
  const std::vector<SamplingResult> far = sample_on_gpu(logits, rows, std::int64_t{1} << 29);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    CHECK(far[i].token == near[i].token);
    check_equal(far[i], near[i]);
  }
  CHECK(session.report() == "");
}

}  // namespace
}  // namespace coppice::kernels::test
