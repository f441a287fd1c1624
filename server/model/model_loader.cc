// Opens the device, picks the element type, loads the weights, sizes the engine.
#include "server/model/model_loader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/runner.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cuda/load.h"
#include "models/limits.h"
#include "server/model/facts_on.h"
#include "spdlog/spdlog.h"

namespace coppice::server {

absl::StatusOr<std::unique_ptr<kernels::Backend>> open_backend(const std::string& device,
                                                               const kernels::cuda::CudaOptions& options) {
  if (device == "cpu") {
    return kernels::cpu::make_cpu_backend({});
  }
  if (device != "auto" && device != "cuda") {
    return absl::InvalidArgumentError(fmt::format("--device {}: must be one of auto, cpu, cuda", device));
  }
  absl::StatusOr<std::unique_ptr<kernels::Backend>> cuda = kernels::cuda::load_cuda_backend(options);
  if (cuda.ok()) {
    return cuda;
  }
  const std::string reason(cuda.status().message());
  if (device == "cuda") {
    return absl::InvalidArgumentError(fmt::format("--device cuda: {}", reason));
  }
  spdlog::info("computing on the CPU: {}", reason);
  return kernels::cpu::make_cpu_backend({});
}

absl::StatusOr<kernels::ComputeType> choose_dtype(const std::string& name, kernels::WeightFormat stored,
                                                  const kernels::Device& device) {
  if (name == "auto") {
    models::ComputeChoice choice = models::choose_compute(stored, device);
    if (!choice.note.empty()) {
      spdlog::info("{}", choice.note);
    }
    return choice.type;
  }
  for (const auto type : {kernels::ComputeType::kF32, kernels::ComputeType::kBF16, kernels::ComputeType::kF16}) {
    if (name == kernels::format_name(type)) {
      if (device.supports(kernels::dense_packing(type)) != kernels::Support::kFull) {
        return absl::InvalidArgumentError(
            fmt::format("--dtype {}: {} ({}) is slow at it; use auto", name, device.name(), device.description()));
      }
      return type;
    }
  }
  return absl::InvalidArgumentError(fmt::format("--dtype {}: must be one of auto, f32, bf16, f16", name));
}

std::vector<std::string> quant_names() {
  return {"auto", "none", "int8", "int4", "int4-128"};
}

absl::StatusOr<std::optional<kernels::WeightFormat>> choose_storage(const std::string& name,
                                                                    kernels::ComputeType compute,
                                                                    const kernels::Device& device) {
  constexpr std::int32_t kSmallGroup = 32;   // columns: GGUF's group
  constexpr std::int32_t kLargeGroup = 128;  // columns: AWQ's and GPTQ's usual group
  const kernels::WeightFormat dense = kernels::dense_format(compute);
  if (name == "none") {
    return dense;
  }
  if (name == "auto") {
    const bool takes_any = device.supports(kernels::PackingOptions{compute, std::nullopt}) == kernels::Support::kFull;
    return takes_any ? std::optional<kernels::WeightFormat>() : dense;
  }
  using Choice = std::pair<const char*, kernels::WeightFormat>;
  for (const auto& [known, format] :
       {Choice{"int8", {kernels::WeightKind::kInt8}}, Choice{"int4", {kernels::WeightKind::kInt4, kSmallGroup}},
        Choice{"int4-128", {kernels::WeightKind::kInt4, kLargeGroup}}}) {
    if (name == known) {
      if (device.supports(kernels::PackingOptions{compute, format}) == kernels::Support::kNone) {
        return absl::InvalidArgumentError(
            fmt::format("--quant {}: {} ({}) does not multiply with such weights; use none", name, device.name(),
                        device.description()));
      }
      return format;
    }
  }
  return absl::InvalidArgumentError(fmt::format("--quant {}: must be one of {}", name, fmt::join(quant_names(), ", ")));
}

std::vector<std::string> kv_dtype_names() {
  return {"auto", "f32", "bf16", "f16", "int8"};
}

absl::StatusOr<kernels::KvFormat> choose_kv_format(const std::string& name, kernels::ComputeType compute,
                                                   const kernels::Device& device) {
  if (name == "auto") {
    return kernels::kv_format_of(compute);
  }
  for (const auto kind :
       {kernels::KvKind::kF32, kernels::KvKind::kBF16, kernels::KvKind::kF16, kernels::KvKind::kInt8}) {
    const kernels::KvFormat format{kind};
    if (name == kernels::format_name(format)) {
      if (device.supports(compute, format) == kernels::Support::kNone) {
        return absl::InvalidArgumentError(
            fmt::format("--kv-dtype {}: {} ({}) does not attend to such a KV cache in {}; use auto", name,
                        device.name(), device.description(), kernels::format_name(compute)));
      }
      return format;
    }
  }
  return absl::InvalidArgumentError(
      fmt::format("--kv-dtype {}: must be one of {}", name, fmt::join(kv_dtype_names(), ", ")));
}

absl::StatusOr<kernels::ModelFormats> choose_formats(const ComputeOptions& options, kernels::WeightFormat stored,
                                                     const kernels::Device& device) {
  COPPICE_ASSIGN_OR_RETURN(const kernels::ComputeType compute, choose_dtype(options.dtype, stored, device));
  kernels::ModelFormats formats = kernels::formats_of(compute);
  COPPICE_ASSIGN_OR_RETURN(formats.storage, choose_storage(options.quant, compute, device));
  COPPICE_ASSIGN_OR_RETURN(formats.kv, choose_kv_format(options.kv_dtype, compute, device));
  return formats;
}

namespace {

absl::StatusOr<LoadedModel> load_onto(std::unique_ptr<kernels::Backend> backend, const models::ModelConfig& config,
                                      models::WeightSource& weights, const LoadModelOptions& options) {
  LoadedModel loaded;
  loaded.config = config;
  loaded.backend = options.wrap_backend ? options.wrap_backend(std::move(backend)) : std::move(backend);
  kernels::Device& device = loaded.backend->device();
  COPPICE_ASSIGN_OR_RETURN(const kernels::ModelFormats formats,
                           choose_formats(options, weights.stored_format(), device));
  // What the weights will take is set aside before the KV cache gets its share; too little is said before they load.
  const models::ModelFacts facts = facts_on(device, config, weights, formats);
  if (const std::string note = models::widening_note(facts); !note.empty()) {
    spdlog::info("{}", note);
  }
  const auto available = static_cast<std::size_t>(device.available_bytes());
  const auto limits_beside = [&](std::size_t weight_bytes) {
    const std::size_t left = available - std::min(available, weight_bytes);
    return engine::derive_limits(options.engine, config, formats.kv, left / static_cast<std::size_t>(options.engines));
  };
  COPPICE_ASSIGN_OR_RETURN(loaded.limits, limits_beside(facts.weight_bytes));
  const models::TransformerLimits step = {.step_tokens = loaded.limits.step_tokens_max,
                                          .step_logits = loaded.limits.step_logits_max};
  const auto begin = std::chrono::steady_clock::now();
  COPPICE_ASSIGN_OR_RETURN(
      loaded.transformer, models::Transformer::load(config, weights, *loaded.backend, formats, step, options.progress));
  device.synchronize();
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  // Of what the weights take in truth; how the device lays them out shows only now.
  loaded.weight_bytes = loaded.transformer->bytes_per_step() + facts.table_bytes;
  COPPICE_ASSIGN_OR_RETURN(loaded.limits, limits_beside(loaded.weight_bytes));
  const double gigabytes = static_cast<double>(loaded.weight_bytes) / 1e9;
  spdlog::info("weights: {:.2f} GB on {} ({}) in {:.2f} s, {:.2f} GB/s", gigabytes, device.name(), device.description(),
               spent.count(), gigabytes / spent.count());
  loaded.weight_seconds = spent.count();
  COPPICE_RETURN_IF_ERROR(remake_engine(loaded, options.engine));
  return loaded;
}

}  // namespace

absl::Status remake_engine(LoadedModel& model, const engine::EngineOptions& options) {
  model.engine.reset();  // its KV memory first
  COPPICE_ASSIGN_OR_RETURN(auto runner, engine::make_runner(*model.transformer, *model.backend, model.limits, options));
  COPPICE_ASSIGN_OR_RETURN(model.engine,
                           engine::Engine::create(model.limits, options, model.config, std::move(runner)));
  return absl::OkStatus();
}

absl::StatusOr<LoadedModel> load_model(const ModelPackage& package, const LoadModelOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, package.config());
  COPPICE_ASSIGN_OR_RETURN(const auto weights, package.weights(config));
  for (const std::string& note : config.notes) {
    spdlog::warn("{}", note);
  }
  if (const std::string note = weights->note(); !note.empty()) {
    spdlog::warn("{}", note);
  }
  COPPICE_ASSIGN_OR_RETURN(auto backend, open_backend(options.device, options.cuda));
  return load_onto(std::move(backend), config, *weights, options);
}

absl::StatusOr<LoadedModel> load_random_model(const std::filesystem::path& shape_config, std::uint64_t seed,
                                              const LoadModelOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(shape_config, models::kConfigBytesMost));
  COPPICE_ASSIGN_OR_RETURN(models::ModelConfig config, models::parse_model_config(text));
  config.max_positions = std::max(config.max_positions, options.engine.model_tokens_max);  // no training to go beyond
  COPPICE_ASSIGN_OR_RETURN(auto backend, open_backend(options.device, options.cuda));
  constexpr kernels::PackingOptions kBf16 = kernels::dense_packing(kernels::ComputeType::kBF16);
  const bool f32 = options.dtype == "f32" || backend->device().supports(kBf16) != kernels::Support::kFull;
  const auto weights =
      models::make_random_weights(config, seed, f32 ? kernels::ComputeType::kF32 : kernels::ComputeType::kBF16);
  return load_onto(std::move(backend), config, *weights, options);
}

}  // namespace coppice::server
