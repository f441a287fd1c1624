// From names on a command line to a model in memory: the device, the element type, the weights. Shared by the server,
// `generate` and the benchmarks, so that they run the same thing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/limits.h"
#include "kernels/backend.h"
#include "kernels/cuda/options.h"
#include "models/model_config.h"
#include "models/transformer.h"
#include "server/model/compute_options.h"
#include "server/model/model_package.h"

namespace coppice::server {

// device: auto, cpu, cuda. `auto` is the GPU where one can be used, else the CPU, with one line in the log that says
// why. ERRORS: InvalidArgument for an unknown name and for `cuda` where there is none to use, saying why.
absl::StatusOr<std::unique_ptr<kernels::Backend>> open_backend(const std::string& device,
                                                               const kernels::cuda::CudaOptions& cuda);

// name: auto, f32, bf16, f16. ERRORS: InvalidArgument when the device has no such type at full speed.
absl::StatusOr<kernels::ComputeType> choose_dtype(const std::string& name, kernels::WeightFormat stored,
                                                  const kernels::Device& device);

// What `--quant` may be.
std::vector<std::string> quant_names();

// How packed matrices are stored. name: auto (each quantised matrix in its own format where the device multiplies with
// it, else the compute type), none (the compute type), int8, int4, int4-128 (groups of 32 or 128 columns). ERRORS:
// InvalidArgument for an unknown name and for a format that the device does not multiply with.
absl::StatusOr<std::optional<kernels::WeightFormat>> choose_storage(const std::string& name,
                                                                    kernels::ComputeType compute,
                                                                    const kernels::Device& device);

// What `--kv-dtype` may be.
std::vector<std::string> kv_dtype_names();

// How the KV cache keeps keys and values. name: auto (the compute type), f32, bf16, f16, int8. ERRORS: InvalidArgument
// for an unknown name and for a cache that the device does not attend to in this compute type.
absl::StatusOr<kernels::KvFormat> choose_kv_format(const std::string& name, kernels::ComputeType compute,
                                                   const kernels::Device& device);

// The formats that a model runs in: all of the above.
absl::StatusOr<kernels::ModelFormats> choose_formats(const ComputeOptions& options, kernels::WeightFormat stored,
                                                     const kernels::Device& device);

struct LoadModelOptions : ComputeOptions {
  kernels::cuda::CudaOptions cuda;
  engine::EngineOptions engine;
  std::int32_t engines = 1;  // on this model at once, each with a KV cache of its own: they share the memory alike
  // What the model runs on instead of the opened backend; empty: the backend itself. For benchmarks.
  std::function<std::unique_ptr<kernels::Backend>(std::unique_ptr<kernels::Backend>)> wrap_backend;
  std::function<void(std::size_t, std::size_t)> progress;  // bytes done, bytes in all; may be empty
};

// A model ready to run. Members are destroyed bottom up: the engine before what it uses. Owner: main, or a command.
struct LoadedModel {
  std::unique_ptr<kernels::Backend> backend;
  models::ModelConfig config;
  std::unique_ptr<models::Transformer> transformer;
  engine::Limits limits;
  std::unique_ptr<engine::Engine> engine;
  std::size_t weight_bytes = 0;
  double weight_seconds = 0;  // from the first tensor's fetching to the device having the last
};

// Another engine on the same model, with an empty cache; what limits follow from is as it was. ERRORS: as loading's.
absl::Status remake_engine(LoadedModel& model, const engine::EngineOptions& options);

// ERRORS: what the config, the weights, the limits or the memory refuse, naming it.
absl::StatusOr<LoadedModel> load_model(const ModelPackage& package, const LoadModelOptions& options);

// A shape with random weights, for benchmarks. The dtype `auto` means bf16 where the device is fast at it, else f32.
absl::StatusOr<LoadedModel> load_random_model(const std::filesystem::path& shape_config, std::uint64_t seed,
                                              const LoadModelOptions& options);

}  // namespace coppice::server
