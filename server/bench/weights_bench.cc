// Writing a safetensors file of random numbers and timing how it is loaded.
#include "server/bench/weights_bench.h"

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "models/model_config.h"
#include "models/transformer.h"
#include "models/weights.h"
#include "nlohmann/json.hpp"

namespace coppice::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kConfigBytesMax = std::size_t{1} << 20;  // a config.json has a few KiB
constexpr std::size_t kElementBytes = 2;                       // bf16

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

std::string header_of(const std::vector<models::WeightSpec>& specs) {
  nlohmann::ordered_json header;
  std::size_t at = 0;
  for (const models::WeightSpec& spec : specs) {
    const std::size_t end = at + static_cast<std::size_t>(spec.elements()) * kElementBytes;
    nlohmann::ordered_json shape = nlohmann::ordered_json::array({spec.columns});
    if (!spec.is_vector()) {
      shape = {spec.rows, spec.columns};
    }
    header[spec.name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return text;
}

absl::Status write_weights(const models::ModelConfig& config, std::uint64_t seed, const std::string& header,
                           const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "wb"));
  const std::uint64_t header_bytes = header.size();  // little-endian, as every machine that this runs on
  bool good = file != nullptr && std::fwrite(&header_bytes, sizeof header_bytes, 1, file.get()) == 1 &&
              std::fwrite(header.data(), 1, header.size(), file.get()) == header.size();
  const auto weights = models::make_random_weights(config, seed, kernels::ComputeType::kBF16);
  for (const models::WeightSpec& spec : models::weight_specs(config)) {
    if (!good) {
      break;
    }
    COPPICE_ASSIGN_OR_RETURN(const models::WeightTensor tensor, weights->fetch(spec));
    const std::span<const std::byte> bytes = tensor.view().bytes;
    good = std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size();
    weights->release(spec);
  }
  if (!good || std::fflush(file.get()) != 0) {
    std::error_code error;
    std::filesystem::remove(path, error);
    return absl::InternalError(fmt::format("{} cannot be written: is the disk full?", path.string()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status write_random_model(const std::filesystem::path& shape_config, std::uint64_t seed,
                                const std::filesystem::path& folder) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(shape_config, kConfigBytesMax));
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, models::parse_model_config(text));
  const std::string header = header_of(models::weight_specs(config));
  const std::size_t bytes =
      sizeof(std::uint64_t) + header.size() + static_cast<std::size_t>(models::parameter_count(config)) * kElementBytes;
  const std::filesystem::path config_path = folder / "config.json";
  const std::filesystem::path weights_path = folder / "model.safetensors";
  std::error_code error;
  const absl::StatusOr<std::string> known = base::read_file(config_path, kConfigBytesMax);
  if (known.ok() && *known == text && std::filesystem::file_size(weights_path, error) == bytes) {
    return absl::OkStatus();
  }
  std::filesystem::create_directories(folder, error);
  std::filesystem::copy_file(shape_config, config_path, std::filesystem::copy_options::overwrite_existing, error);
  if (error) {
    return absl::InternalError(fmt::format("{} cannot be written: {}", config_path.string(), error.message()));
  }
  return write_weights(config, seed, header, weights_path);
}

absl::StatusOr<WeightsBenchResult> measure_weights(const ModelPackage& package, std::int32_t repeat,
                                                   kernels::Backend& backend) {
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, package.config());
  WeightsBenchResult result;
  for (std::int32_t turn = 0; turn < repeat; ++turn) {
    const auto begin = Clock::now();
    COPPICE_ASSIGN_OR_RETURN(const auto weights, package.weights(config));
    const models::ComputeChoice choice = models::choose_compute(weights->stored_format(), backend.device());
    COPPICE_ASSIGN_OR_RETURN(const auto transformer,
                             models::Transformer::load(config, *weights, backend, kernels::formats_of(choice.type),
                                                       {.step_tokens = 16, .step_logits = 1}, {}));
    backend.device().synchronize();
    result.file_bytes = weights->stored_bytes();
    result.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return result;
}

}  // namespace coppice::server
