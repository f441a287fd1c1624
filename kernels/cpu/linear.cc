// Matrix products: the choice between oneDNN and our own product, and both. oneDNN's exceptions end here.
//
// The promise "a row's result is the same in every batch and with any number of threads" decides. oneDNN 2.6's
// brgemm kernels for AVX-512 keep it for every shape tried (tests/unit/kernels/linear_test.cc); its gemm:jit, which it
// falls to on AVX2 and for bf16 without AVX-512-BF16, does not. Its AMX kernels may split a sum over threads, so AMX is
// switched off. Whatever is not known to keep the promise runs on PanelMatmul. Of what oneDNN keeps, the bf16
// rows of a decode step run on StepMatmul where it has the same bits.
#include "kernels/cpu/linear.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <omp.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <list>
#include <numeric>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "dnnl.hpp"
#include "fmt/format.h"
#include "kernels/cpu/linear_body.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/packed_weight.h"
#include "kernels/cpu/panel_matmul.h"
#include "kernels/cpu/quantised_linear.h"
#include "kernels/cpu/step_matmul.h"
#include "kernels/host/convert_body.h"

namespace coppice::kernels::cpu {

namespace {

// The row count for which the packed layout is asked; kernels for every other count take the same layout (tested).
constexpr std::int64_t kLayoutRows = 512;
// Rows by which StepMatmul is compared with oneDNN: more than a tile's.
constexpr std::int64_t kProbeRows = kTileRows + 1;
// Words of two bf16 that brgemm kernels of oneDNN 2.6 add up in one chain: up to 1,024 features, and beyond.
constexpr std::array<std::int64_t, 2> kChains = {256, 512};
// Features of the bf16 product that is probed when the device is opened: those of a small model.
constexpr std::int64_t kProbeFeatures = 1024;
// Primitives kept: a model has about five shapes, a step up to a few thousand row counts. One is a few kilobytes; the
// generated code is shared inside oneDNN.
constexpr std::size_t kPrimitivesMax = 4096;

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;
using Tag = dnnl::memory::format_tag;

struct Tiling {
  std::int64_t width;
  Tag f32;
  Tag bf16;
};
constexpr std::array<Tiling, 4> kTilings = {{{64, Tag::BA16a64b, Tag::BA16a64b2a},
                                             {48, Tag::BA16a48b, Tag::BA16a48b2a},
                                             {32, Tag::BA16a32b, Tag::BA16a32b2a},
                                             {16, Tag::BA16a16b, Tag::BA16a16b2a}}};

dnnl::memory::data_type dnnl_type(ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return dnnl::memory::data_type::f32;
    case ComputeType::kBF16:
      return dnnl::memory::data_type::bf16;
    case ComputeType::kF16:
      return dnnl::memory::data_type::f16;
  }
  return dnnl::memory::data_type::undef;
}

// Returns whether oneDNN has brgemm kernels for a type on this machine.
bool has_kernels(Isa isa, ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return isa >= Isa::kAvx512;
    case ComputeType::kBF16:
      return isa >= Isa::kAvx512Bf16;
    case ComputeType::kF16:
      return false;
  }
  return false;
}

// Returns oneDNN's name for panels of the tiling's width; PanelLayout has the same layout.
Tag tag_of(const Tiling& tiling, ComputeType type) {
  switch (type) {
    case ComputeType::kF32:
      return tiling.f32;
    case ComputeType::kBF16:
      return tiling.bf16;
    case ComputeType::kF16:
      return Tag::undef;
  }
  return Tag::undef;
}

// Output features that are multiplied in one way: all parts of a weight that are stored in one format.
struct Piece {
  std::int64_t begin = 0;           // its first output feature
  PanelLayout layout;               // of a dense piece; of a quantised one only the numbers of features
  std::optional<Desc> dnnl_layout;  // of a dense piece; empty: PanelMatmul's weights
  Buffer packed;                    // of a dense piece
  std::int64_t chain = 0;           // of StepMatmul, with which its bits are oneDNN's; 0: not for this piece
  std::optional<QuantisedPanels> quantised;

  std::size_t bytes() const { return packed.bytes() + (quantised ? quantised->packed.bytes() : 0); }
};

class CpuLinearWeight : public LinearWeight {
 public:
  CpuLinearWeight(std::int64_t out_features, std::int64_t in_features, ComputeType type_in)
      : LinearWeight(out_features, in_features), type(type_in) {}
  std::size_t bytes() const override {
    return std::accumulate(pieces.begin(), pieces.end(), bias.bytes(),
                           [](std::size_t sum, const Piece& piece) { return sum + piece.bytes(); });
  }
  // From the piece's first feature on, or null.
  const float* bias_of(const Piece& piece) const {
    return bias.bytes() == 0 ? nullptr : static_cast<const float*>(bias.data()) + piece.begin;
  }

  ComputeType type;
  std::vector<Piece> pieces;
  Buffer bias;  // f32 [out_features], or empty
};

// The parameters of a primitive.
struct Key {
  std::int64_t rows = 0;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  ComputeType dtype = ComputeType::kF32;
  ComputeType out_dtype = ComputeType::kF32;
  bool bias = false;
  bool adds = false;

  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 0;
    for (const std::int64_t field : {key.rows, key.in_features, key.out_features, static_cast<std::int64_t>(key.dtype),
                                     static_cast<std::int64_t>(key.out_dtype), static_cast<std::int64_t>(key.bias),
                                     static_cast<std::int64_t>(key.adds)}) {
      hash = (hash ^ static_cast<std::uint64_t>(field)) * 0x9E3779B97F4A7C15ULL;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

Desc in_desc(const Key& key) {
  return {Dims{key.rows, key.in_features}, dnnl_type(key.dtype), Tag::ab};
}
Desc out_desc(const Key& key) {
  return {Dims{key.rows, key.out_features}, dnnl_type(key.out_dtype), Tag::ab};
}
Desc bias_desc(const Key& key) {
  return {Dims{1, key.out_features}, dnnl::memory::data_type::f32, Tag::ab};
}

dnnl::matmul::primitive_desc make_descriptor(const dnnl::engine& engine, const Key& key, const Desc& weights) {
  dnnl::primitive_attr attributes;
  if (key.adds) {
    dnnl::post_ops operations;
    operations.append_sum(1.0F);
    attributes.set_post_ops(operations);
  }
  if (key.bias) {
    return {dnnl::matmul::desc(in_desc(key), weights, bias_desc(key), out_desc(key)), attributes, engine};
  }
  return {dnnl::matmul::desc(in_desc(key), weights, out_desc(key)), attributes, engine};
}

// How a part is stored: as the options say, but dense where its own blocks cannot be packed.
WeightFormat storage_of(const HostWeight& part, const PackingOptions& options) {
  const WeightFormat storage = options.storage_of(part.format);
  return is_quantised(storage) && !packs_quantised(storage) ? dense_format(options.compute) : storage;
}

bool is_dense(const Matrix& matrix) {
  return matrix.rows <= 1 || matrix.stride == matrix.columns;
}

Matrix dense_view(const Matrix& like, std::vector<std::byte>& memory) {
  memory.resize(static_cast<std::size_t>(like.rows * like.columns) * element_bytes(like.dtype));
  return {memory.data(), like.dtype, like.rows, like.columns, like.columns};
}

void copy_rows(const Matrix& from, const Matrix& to) {
  const std::size_t bytes = static_cast<std::size_t>(from.columns) * element_bytes(from.dtype);
  for (std::int64_t row = 0; row < from.rows; ++row) {
    std::memcpy(static_cast<std::byte*>(to.data) + to.offset(row),
                static_cast<const std::byte*>(from.data) + from.offset(row), bytes);
  }
}

bool keeps_promise(const dnnl::matmul::primitive_desc& descriptor) {
  const std::string_view name = descriptor.impl_info_str();
  return name == "brg:avx512_core" || name == "brg:avx512_core_bf16";
}

// oneDNN accepts this only before its first other call; for a second backend of the same program it is done already.
void switch_amx_off() {
#if defined(__x86_64__)
  constexpr unsigned kAmxBf16 = 1U << 22;  // CPUID leaf 7, EDX bit 22 (Intel SDM, volume 2)
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAmxBf16) != 0) {
    static_cast<void>(dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx512_core_bf16));
  }
#endif
}

dnnl::engine make_engine() {
  switch_amx_off();
  return {dnnl::engine::kind::cpu, 0};
}

// Returns numbers in bf16 of all signs, of sixteen exponents up to 1 and with all bits of their fraction in use, so
// that each order of sums rounds in its own way.
std::vector<std::uint16_t> probe_numbers(std::int64_t count) {
  std::vector<std::uint16_t> numbers(static_cast<std::size_t>(count));
  std::uint32_t state = 1;
  for (std::uint16_t& number : numbers) {
    state = state * 1664525U + 1013904223U;  // Numerical Recipes' linear congruential generator
    const std::uint32_t exponent = 0x7FU - (state >> 27U & 0xFU);
    number = static_cast<std::uint16_t>((state >> 31U << 15U) | (exponent << 7U) | (state >> 20U & 0x7FU));
  }
  return numbers;
}

}  // namespace

struct CpuLinear::State {
  explicit State(const CpuContext& context_in)
      : context(context_in),
        engine(make_engine()),
        stream(engine),
        step(context_in),
        panels(context_in),
        quantised(context_in) {}

  // Returns oneDNN's layout for these weights if one of its kernels keeps the promise; sets layout.width.
  std::optional<Desc> choose(PanelLayout& layout) const;
  const dnnl::matmul& primitive(const Key& key, const Desc& weights);
  // Returns the chain with which StepMatmul gives oneDNN's bits for this piece, 0 if none does or it cannot be told.
  std::int64_t find_chain(const Piece& piece);
  absl::StatusOr<Piece> pack(std::span<const HostWeight> parts, ComputeType type, WeightFormat storage);
  // One piece; out: its columns.
  void run(const Matrix& in, const Piece& piece, const float* bias, LinearEpilogue epilogue, const Matrix& out);
  // REQUIRES: in and out have no gaps between rows.
  void run_dnnl(const Matrix& in, const Piece& piece, const float* bias, LinearEpilogue epilogue, const Matrix& out);

  CpuContext context;
  Support bf16 = Support::kSlow;
  dnnl::engine engine;
  dnnl::stream stream;
  StepMatmul step;
  PanelMatmul panels;
  QuantisedLinear quantised;
  std::vector<std::byte> in_copy;
  std::vector<std::byte> out_copy;
  std::list<std::pair<Key, dnnl::matmul>> order;  // most recently used first
  std::unordered_map<Key, std::list<std::pair<Key, dnnl::matmul>>::iterator, KeyHash> entries;
};

std::optional<Desc> CpuLinear::State::choose(PanelLayout& layout) const {
  if (!has_kernels(context.isa, layout.type)) {
    return std::nullopt;
  }
  const Key key{.rows = kLayoutRows,
                .in_features = layout.in_features,
                .out_features = layout.out_features,
                .dtype = layout.type};
  const Dims dims{layout.in_features, layout.out_features};
  try {
    const auto descriptor = make_descriptor(engine, key, Desc(dims, dnnl_type(layout.type), Tag::any));
    if (!keeps_promise(descriptor)) {
      return std::nullopt;
    }
    for (const Tiling& tiling : kTilings) {
      const Desc candidate(dims, dnnl_type(layout.type), tag_of(tiling, layout.type));
      layout.width = tiling.width;
      if (candidate == descriptor.weights_desc() && candidate.get_size() == layout.bytes()) {
        return candidate;
      }
    }
  } catch (const dnnl::error&) {
    // oneDNN does not support this shape or machine; our product does.
  }
  layout.width = kPanel;
  return std::nullopt;
}

const dnnl::matmul& CpuLinear::State::primitive(const Key& key, const Desc& weights) {
  if (const auto found = entries.find(key); found != entries.end()) {
    order.splice(order.begin(), order, found->second);
    return found->second->second;
  }
  if (entries.size() >= kPrimitivesMax) {
    entries.erase(order.back().first);
    order.pop_back();
  }
  const auto descriptor = make_descriptor(engine, key, weights);
  COPPICE_CHECK(keeps_promise(descriptor), descriptor.impl_info_str());
  order.emplace_front(key, dnnl::matmul(descriptor));
  entries.emplace(key, order.begin());
  return order.front().second;
}

CpuLinear::CpuLinear(const CpuContext& context) : state_(std::make_unique<State>(context)) {
  PanelLayout layout{.type = ComputeType::kBF16, .in_features = kProbeFeatures, .out_features = kProbeFeatures};
  state_->bf16 = state_->choose(layout).has_value() ? Support::kFull : Support::kSlow;
}
CpuLinear::~CpuLinear() = default;

Support CpuLinear::supports(const PackingOptions& packing) const {
  if (packing.compute == ComputeType::kF16) {
    return Support::kNone;
  }
  if (packing.storage && *packing.storage != dense_format(packing.compute) && !packs_quantised(*packing.storage)) {
    return Support::kNone;
  }
  // Quantised weights are multiplied as whole numbers; activations in bf16 slow down everything else.
  return packing.compute == ComputeType::kBF16 ? state_->bf16 : Support::kFull;
}

absl::StatusOr<Piece> CpuLinear::State::pack(std::span<const HostWeight> parts, ComputeType type,
                                             WeightFormat storage) {
  Piece piece;
  piece.layout = {.type = type, .in_features = parts.front().columns};
  for (const HostWeight& part : parts) {
    piece.layout.out_features += part.rows;
  }
  if (is_quantised(storage)) {
    COPPICE_ASSIGN_OR_RETURN(piece.quantised, pack_quantised(context, parts, storage));
    return piece;
  }
  piece.dnnl_layout = choose(piece.layout);
  COPPICE_ASSIGN_OR_RETURN(piece.packed, pack_panels(context, parts, piece.layout));
  piece.chain = find_chain(piece);
  return piece;
}

std::int64_t CpuLinear::State::find_chain(const Piece& piece) try {
  const PanelLayout& layout = piece.layout;
  std::vector<std::uint16_t> numbers = probe_numbers(kProbeRows * layout.in_features);
  const Matrix in{numbers.data(), layout.type, kProbeRows, layout.in_features, layout.in_features};
  if (!piece.dnnl_layout || !step.takes(in, layout)) {
    return 0;
  }
  std::vector<float> expected;
  std::vector<float> found;
  const auto out = [&](std::vector<float>& sums) {
    // Not zero: a sum that begins with what is there would not be seen.
    sums.assign(static_cast<std::size_t>(kProbeRows * layout.out_features), 1.0F / 3);
    return Matrix{sums.data(), ComputeType::kF32, kProbeRows, layout.out_features, layout.out_features};
  };
  std::array<bool, kChains.size()> agrees;
  agrees.fill(true);
  for (const LinearEpilogue epilogue : {LinearEpilogue::kStore, LinearEpilogue::kAdd}) {
    run_dnnl(in, piece, nullptr, epilogue, out(expected));
    for (std::size_t i = 0; i < kChains.size(); ++i) {
      step.run(in, layout, piece.packed.data(), kChains[i], nullptr, epilogue, out(found));
      agrees[i] = agrees[i] && std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)) == 0;
    }
  }
  // Weights with which every chain gives the same bits here may part them for another input, unless there is one chain.
  const bool is_one = layout.steps() <= kChains.front();
  if (std::count(agrees.begin(), agrees.end(), true) != 1 && !(is_one && agrees.front())) {
    return 0;
  }
  return kChains[static_cast<std::size_t>(std::find(agrees.begin(), agrees.end(), true) - agrees.begin())];
} catch (const dnnl::error&) {
  return 0;  // oneDNN has no memory for it now; what it multiplies later says so itself
}

absl::StatusOr<std::unique_ptr<LinearWeight>> CpuLinear::pack(std::span<const HostWeight> parts,
                                                              std::span<const HostWeight> biases,
                                                              const PackingOptions& options) {
  omp_set_num_threads(state_->context.threads);
  std::int64_t out_features = 0;
  for (const HostWeight& part : parts) {
    out_features += part.rows;
  }
  auto weight = std::make_unique<CpuLinearWeight>(out_features, parts.front().columns, options.compute);
  std::int64_t feature = 0;
  for (std::size_t first = 0; first < parts.size();) {
    const WeightFormat storage = storage_of(parts[first], options);
    std::size_t end = first + 1;
    while (end < parts.size() && storage_of(parts[end], options) == storage) {
      ++end;
    }
    COPPICE_ASSIGN_OR_RETURN(Piece piece, state_->pack(parts.subspan(first, end - first), options.compute, storage));
    piece.begin = feature;
    feature += piece.layout.out_features;
    weight->pieces.push_back(std::move(piece));
    first = end;
  }
  if (!biases.empty()) {
    const std::size_t bytes = static_cast<std::size_t>(out_features) * sizeof(float);
    COPPICE_ASSIGN_OR_RETURN(weight->bias, allocate_zeroed(bytes));
    const ConvertBody& body = COPPICE_SELECT_BODY(state_->context.isa, convert_body);
    auto* target = static_cast<float*>(weight->bias.data());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (!biases[i].empty()) {
        body.to_f32(biases[i].bytes.data(), dense_type(biases[i].format).value(), parts[i].rows, target);
      }
      target += parts[i].rows;
    }
  }
  return weight;
}

void CpuLinear::State::run_dnnl(const Matrix& in, const Piece& piece, const float* bias, LinearEpilogue epilogue,
                                const Matrix& out) {
  if (omp_get_max_threads() != context.threads) {
    omp_set_num_threads(context.threads);  // a setting of the calling thread, not of the program
  }
  const Key key{.rows = in.rows,
                .in_features = piece.layout.in_features,
                .out_features = piece.layout.out_features,
                .dtype = piece.layout.type,
                .out_dtype = out.dtype,
                .bias = bias != nullptr,
                .adds = epilogue == LinearEpilogue::kAdd};
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, {in_desc(key), engine, in.data}},
      {DNNL_ARG_WEIGHTS, {*piece.dnnl_layout, engine, piece.packed.data()}},
      {DNNL_ARG_DST, {out_desc(key), engine, out.data}}};
  if (key.bias) {
    arguments.emplace(DNNL_ARG_BIAS, dnnl::memory(bias_desc(key), engine, const_cast<float*>(bias)));
  }
  primitive(key, *piece.dnnl_layout).execute(stream, arguments);
}

void CpuLinear::State::run(const Matrix& in, const Piece& piece, const float* bias, LinearEpilogue epilogue,
                           const Matrix& out) {
  if (piece.quantised) {
    quantised.run(in, *piece.quantised, bias, epilogue, out);
    return;
  }
  if (!piece.dnnl_layout) {
    panels.run(in, piece.layout, piece.packed.data(), bias, epilogue, out);
    return;
  }
  if (piece.chain > 0 && step.takes(in, piece.layout)) {
    step.run(in, piece.layout, piece.packed.data(), piece.chain, bias, epilogue, out);
    return;
  }
  if (is_dense(in) && is_dense(out)) {
    run_dnnl(in, piece, bias, epilogue, out);
    return;
  }
  // oneDNN multiplies rows with gaps between them by its slow reference loop; copy instead.
  const Matrix dense_in = dense_view(in, in_copy);
  const Matrix dense_out = dense_view(out, out_copy);
  copy_rows(in, dense_in);
  if (epilogue == LinearEpilogue::kAdd) {
    copy_rows(out, dense_out);
  }
  run_dnnl(dense_in, piece, bias, epilogue, dense_out);
  copy_rows(dense_out, out);
}

void CpuLinear::run(const Matrix& in, const LinearWeight& weight_in, LinearEpilogue epilogue, const Matrix& out) try {
  if (in.rows == 0) {
    return;
  }
  const auto& weight = static_cast<const CpuLinearWeight&>(weight_in);
  COPPICE_CHECK(in.dtype == weight.type, "linear: the input is not in the weight's compute type");
  for (const Piece& piece : weight.pieces) {
    const Matrix columns{static_cast<std::byte*>(out.data) + out.offset(0, piece.begin), out.dtype, out.rows,
                         piece.layout.out_features, out.stride};
    state_->run(in, piece, weight.bias_of(piece), epilogue, columns);
  }
} catch (const dnnl::error& error) {
  COPPICE_CHECK(false, error.what());
}

}  // namespace coppice::kernels::cpu
