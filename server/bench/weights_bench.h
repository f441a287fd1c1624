// `coppice bench weights`: how fast a model's weights come from files in the page cache to a device, and a writer of
// model folders with random weights to measure it with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/tensor.h"
#include "server/model/model_package.h"

namespace coppice::server {

// Writes FOLDER/config.json, a copy of `shape_config`, and FOLDER/model.safetensors with random bf16 weights, unless
// both are there and the file has the size it should have. ERRORS: InvalidArgument (the config), Internal (writing,
// naming the file; what was written of it is removed).
absl::Status write_random_model(const std::filesystem::path& shape_config, std::uint64_t seed,
                                const std::filesystem::path& folder);

struct WeightsBenchResult {
  std::size_t file_bytes = 0;
  std::vector<double> seconds;  // of each loading: from opening the files to the device having the last byte
};

// Loads the model's weights `repeat` times, each time freeing what was loaded. ERRORS: as loading a model.
absl::StatusOr<WeightsBenchResult> measure_weights(const ModelPackage& package, std::int32_t repeat,
                                                   kernels::Backend& backend);

}  // namespace coppice::server
