// Fuzz target: a quantised matrix of a checkpoint: quantization_config, and after a zero byte a safetensors file with
// the tensors of m.weight, [8, 32]. What is accepted must be delivered with as many bytes and scales as its format has,
// all of them numbers.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <unistd.h>
#include "models/float_formats.h"
#include "models/quantisation.h"
#include "models/quantised_tensors.h"
#include "models/safetensors.h"

namespace {

namespace models = coppice::models;

void require(bool promise) {
  if (!promise) {
    std::abort();
  }
}

// A folder of this process's own for model.safetensors.
const std::filesystem::path& folder() {
  static const std::filesystem::path path = [] {
    const std::filesystem::path made =
        std::filesystem::temp_directory_path() / ("coppice_quantised_fuzz_" + std::to_string(::getpid()));
    std::filesystem::create_directories(made);
    std::atexit([] { std::filesystem::remove_all(folder()); });
    return made;
  }();
  return path;
}

void check_view(const coppice::kernels::HostWeight& view, const models::WeightSpec& spec) {
  require(view.rows == spec.rows && view.columns == spec.columns);
  require(view.bytes.size() == view.format.bytes(spec.rows, spec.columns));
  require(view.scales.size() == static_cast<std::size_t>(view.format.scale_count(spec.rows, spec.columns)));
  require(std::ranges::all_of(view.scales, [](float scale) { return std::isfinite(scale); }));
  if (!coppice::kernels::is_quantised(view.format)) {
    std::vector<float> numbers(static_cast<std::size_t>(spec.elements()));
    models::convert_to_float(view, numbers);
    require(std::ranges::all_of(numbers, [](float number) { return std::isfinite(number); }));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) {
    text.push_back(static_cast<char>(data[i]));
  }
  const std::size_t zero = text.find('\0');
  const nlohmann::json json = nlohmann::json::parse(text.substr(0, zero), nullptr, /*allow_exceptions=*/false);
  const auto quantisation = models::parse_quantisation(json, "input");
  if (!quantisation.ok()) {
    require(!quantisation.status().message().empty());
    return 0;
  }
  if (zero == std::string::npos) {
    return 0;
  }
  std::ofstream(folder() / "model.safetensors", std::ios::binary) << text.substr(zero + 1);
  const auto opened = models::SafetensorsFolder::open(folder());
  if (!opened.ok()) {
    return 0;
  }
  const models::WeightSpec spec{.name = "m.weight", .rows = 8, .columns = 32};
  models::QuantisedTensors tensors(*opened, *quantisation);
  if (!tensors.holds(spec)) {
    return 0;
  }
  const auto facts = tensors.check(spec);
  if (!facts.ok()) {
    require(!facts.status().message().empty());
    return 0;
  }
  require(facts->stored.bytes > 0 && !facts->names.empty());
  if (const auto fetched = tensors.fetch(spec); fetched.ok()) {
    check_view(fetched->view(), spec);
    tensors.release(spec);
  }
  return 0;
}
