// oneDNN matmul behind LinearWeight. oneDNN's exceptions end here.
#include "kernels/cpu/linear.h"

#include <omp.h>

#include <list>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "dnnl.hpp"
#include "fmt/format.h"
#include "kernels/cpu/elementwise_body.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/parallel.h"

namespace coppice::kernels::cpu {

namespace {

// The row count for which the packed layout is chosen; it is the same for every row count (tested).
constexpr std::int64_t kLayoutRows = 512;
// Primitives kept. One is a few kilobytes plus its generated code, which oneDNN shares between equal kernels.
constexpr std::size_t kPrimitivesMax = 4096;

dnnl::memory::data_type dnnl_type(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return dnnl::memory::data_type::bf16;
    case DType::kF16:
      return dnnl::memory::data_type::f16;
    case DType::kF32:
      break;
  }
  return dnnl::memory::data_type::f32;
}

class CpuLinearWeight : public LinearWeight {
 public:
  CpuLinearWeight(std::int64_t out_features, std::int64_t in_features) : LinearWeight(out_features, in_features) {}
  std::size_t bytes() const override { return packed.bytes() + bias.bytes(); }

  DType dtype = DType::kF32;
  dnnl::memory::desc layout;
  Buffer packed;
  Buffer bias;  // f32 [out_features], or empty
};

// Everything that a primitive is made for.
struct Key {
  std::int64_t rows = 0;
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  std::int64_t in_stride = 0;
  std::int64_t out_stride = 0;
  DType dtype = DType::kF32;
  DType out_dtype = DType::kF32;
  bool bias = false;
  bool add = false;

  bool operator==(const Key&) const = default;
};

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t hash = 0;
    for (const std::int64_t field : {key.rows, key.in_features, key.out_features, key.in_stride, key.out_stride,
                                     static_cast<std::int64_t>(key.dtype), static_cast<std::int64_t>(key.out_dtype),
                                     static_cast<std::int64_t>(key.bias), static_cast<std::int64_t>(key.add)}) {
      hash = (hash ^ static_cast<std::uint64_t>(field)) * 0x9E3779B97F4A7C15ULL;
      hash ^= hash >> 29;
    }
    return hash;
  }
};

dnnl::matmul::primitive_desc make_descriptor(const dnnl::engine& engine, const Key& key,
                                             const dnnl::memory::desc& weights) {
  using Desc = dnnl::memory::desc;
  const Desc in({key.rows, key.in_features}, dnnl_type(key.dtype), dnnl::memory::dims{key.in_stride, 1});
  const Desc out({key.rows, key.out_features}, dnnl_type(key.out_dtype), dnnl::memory::dims{key.out_stride, 1});
  dnnl::primitive_attr attributes;
  if (key.add) {
    dnnl::post_ops operations;
    operations.append_sum(1.0F);
    attributes.set_post_ops(operations);
  }
  if (key.bias) {
    const Desc bias({1, key.out_features}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
    return {dnnl::matmul::desc(in, weights, bias, out), attributes, engine};
  }
  return {dnnl::matmul::desc(in, weights, out), attributes, engine};
}

}  // namespace

struct CpuLinear::State {
  explicit State(const CpuContext& context_in)
      : context(context_in), engine(dnnl::engine::kind::cpu, 0), stream(engine) {}

  const dnnl::matmul& primitive(const Key& key, const dnnl::memory::desc& weights) {
    if (const auto found = entries.find(key); found != entries.end()) {
      order.splice(order.begin(), order, found->second);
      return found->second->second;
    }
    if (entries.size() >= kPrimitivesMax) {
      entries.erase(order.back().first);
      order.pop_back();
    }
    order.emplace_front(key, dnnl::matmul(make_descriptor(engine, key, weights)));
    entries.emplace(key, order.begin());
    return order.front().second;
  }

  CpuContext context;
  dnnl::engine engine;
  dnnl::stream stream;
  std::list<std::pair<Key, dnnl::matmul>> order;  // most recently used first
  std::unordered_map<Key, std::list<std::pair<Key, dnnl::matmul>>::iterator, KeyHash> entries;
};

CpuLinear::CpuLinear(const CpuContext& context) : state_(std::make_unique<State>(context)) {}
CpuLinear::~CpuLinear() = default;

bool CpuLinear::supports(DType weights) const {
  if (weights == DType::kBF16) {
    return dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_bf16;
  }
  return weights == DType::kF32;
}

absl::StatusOr<std::unique_ptr<LinearWeight>> CpuLinear::pack(std::span<const HostTensor> parts,
                                                              std::span<const HostTensor> biases, DType dtype) try {
  std::int64_t out_features = 0;
  for (const HostTensor& part : parts) {
    out_features += part.rows;
  }
  const std::int64_t in_features = parts.front().columns;
  const ElementwiseBody& body = COPPICE_SELECT_BODY(state_->context.isa, elementwise_body);
  auto weight = std::make_unique<CpuLinearWeight>(out_features, in_features);
  weight->dtype = dtype;
  COPPICE_ASSIGN_OR_RETURN(
      Buffer plain, allocate_uninitialized(static_cast<std::size_t>(out_features * in_features) * dtype_bytes(dtype)));
  auto* target = static_cast<std::byte*>(plain.data());
  for (const HostTensor& part : parts) {
    const auto* source = static_cast<const std::byte*>(part.data);
    parallel_for(state_->context.threads, part.rows * in_features, kParallelBytes,
                 [&](std::int64_t begin, std::int64_t end) {
                   const auto from = source + begin * static_cast<std::int64_t>(dtype_bytes(part.dtype));
                   const auto to = target + begin * static_cast<std::int64_t>(dtype_bytes(dtype));
                   if (dtype == DType::kF32) {
                     body.to_f32(from, part.dtype, end - begin, reinterpret_cast<float*>(to));
                   } else {
                     body.to_bf16(from, part.dtype, end - begin, reinterpret_cast<std::uint16_t*>(to));
                   }
                 });
    target += part.rows * in_features * static_cast<std::int64_t>(dtype_bytes(dtype));
  }

  omp_set_num_threads(state_->context.threads);
  const Key key{kLayoutRows, in_features, out_features, in_features, out_features, dtype, DType::kF32, false, false};
  using Desc = dnnl::memory::desc;
  const Desc any({in_features, out_features}, dnnl_type(dtype), dnnl::memory::format_tag::any);
  weight->layout = make_descriptor(state_->engine, key, any).weights_desc();
  COPPICE_ASSIGN_OR_RETURN(weight->packed, allocate_uninitialized(weight->layout.get_size()));
  // [out, in] row-major is [in, out] with strides (1, in).
  dnnl::memory plain_memory({{in_features, out_features}, dnnl_type(dtype), dnnl::memory::dims{1, in_features}},
                            state_->engine, plain.data());
  dnnl::memory packed_memory(weight->layout, state_->engine, weight->packed.data());
  dnnl::reorder(plain_memory, packed_memory).execute(state_->stream, plain_memory, packed_memory);
  state_->stream.wait();

  if (!biases.empty()) {
    COPPICE_ASSIGN_OR_RETURN(weight->bias, allocate_zeroed(static_cast<std::size_t>(out_features) * sizeof(float), 1));
    auto* bias = static_cast<float*>(weight->bias.data());
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (biases[i].data != nullptr) {
        body.to_f32(biases[i].data, biases[i].dtype, parts[i].rows, bias);
      }
      bias += parts[i].rows;
    }
  }
  return weight;
} catch (const dnnl::error& error) {
  return absl::InternalError(fmt::format("oneDNN refused to pack a {} x {} weight: {}", parts.front().rows,
                                         parts.front().columns, error.what()));
}

void CpuLinear::run(const Matrix& in, const LinearWeight& weight_in, LinearEpilogue epilogue, const Matrix& out) try {
  if (in.rows == 0) {
    return;
  }
  const auto& weight = static_cast<const CpuLinearWeight&>(weight_in);
  if (omp_get_max_threads() != state_->context.threads) {
    omp_set_num_threads(state_->context.threads);
  }
  const Key key{
      in.rows,   weight.in_features(),    weight.out_features(),           in.stride, out.stride, weight.dtype,
      out.dtype, weight.bias.bytes() > 0, epilogue == LinearEpilogue::kAdd};
  const dnnl::matmul& primitive = state_->primitive(key, weight.layout);
  const dnnl::memory in_memory({{in.rows, in.columns}, dnnl_type(in.dtype), dnnl::memory::dims{in.stride, 1}},
                               state_->engine, in.data);
  const dnnl::memory out_memory({{out.rows, out.columns}, dnnl_type(out.dtype), dnnl::memory::dims{out.stride, 1}},
                                state_->engine, out.data);
  const dnnl::memory weight_memory(weight.layout, state_->engine, weight.packed.data());
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, in_memory}, {DNNL_ARG_WEIGHTS, weight_memory}, {DNNL_ARG_DST, out_memory}};
  if (weight.bias.bytes() > 0) {
    arguments.emplace(DNNL_ARG_BIAS,
                      dnnl::memory({{1, out.columns}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab},
                                   state_->engine, weight.bias.data()));
  }
  primitive.execute(state_->stream, arguments);
} catch (const dnnl::error& error) {
  COPPICE_CHECK(false, error.what());
}

}  // namespace coppice::kernels::cpu
