// A package opened from the demo's folder and from folders that lack or spoil a part.
#include "server/model/model_package.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

const fs::path kDemo = fs::path(COPPICE_SOURCE_DIR) / "models" / "demo";

// The demo's small files in a folder of their own.
class DemoCopy {
 public:
  DemoCopy() : path_(fs::temp_directory_path() / ("coppice_package_" + std::to_string(getpid()))) {
    fs::create_directories(path_);
    for (const fs::directory_entry& entry : fs::directory_iterator(kDemo)) {
      if (entry.path().extension() != ".safetensors") {
        fs::copy(entry.path(), path_ / entry.path().filename(), fs::copy_options::overwrite_existing);
      }
    }
  }
  ~DemoCopy() { fs::remove_all(path_); }
  DemoCopy(const DemoCopy&) = delete;
  DemoCopy& operator=(const DemoCopy&) = delete;

  void write(const char* name, const std::string& text) const { std::ofstream(path_ / name) << text; }
  std::unique_ptr<ModelPackage> open() const { return ModelPackage::open(path_).value(); }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

TEST_CASE("every part of the demo comes out of one package") {
  const absl::StatusOr<std::unique_ptr<ModelPackage>> package = ModelPackage::open(kDemo);
  REQUIRE(package.ok());
  CHECK((*package)->name() == "demo");
  const absl::StatusOr<models::ModelConfig> config = (*package)->config();
  REQUIRE(config.ok());
  CHECK((*package)->weights(*config).ok());
  const absl::StatusOr<ModelText> text = (*package)->text();
  REQUIRE(text.ok());
  CHECK(text->tokenizer->vocab_size() <= config->vocab);
  CHECK(text->config.chat_template().has_value());
  const absl::StatusOr<base::SamplingChoices> defaults = (*package)->sampling_defaults();
  REQUIRE(defaults.ok());
  CHECK(defaults->temperature == 0.7);
  CHECK(defaults->top_p == 0.9);
  CHECK_FALSE(defaults->min_p.has_value());
}

TEST_CASE("what is missing fails when it is asked for, and nothing else") {
  const DemoCopy copy;
  const auto package = copy.open();
  const absl::StatusOr<models::ModelConfig> config = package->config();
  REQUIRE(config.ok());
  CHECK(package->text().ok());
  CHECK_FALSE(package->weights(*config).ok());
  fs::remove(copy.path() / "tokenizer.json");
  fs::remove(copy.path() / "tokenizer.model");
  CHECK(package->text().status().code() == absl::StatusCode::kNotFound);
  fs::remove(copy.path() / "generation_config.json");
  CHECK_FALSE(package->sampling_defaults()->temperature.has_value());
}

TEST_CASE("recommended sampling has the bounds of a request") {
  const DemoCopy copy;
  const auto package = copy.open();
  copy.write("generation_config.json",
             R"({"temperature":0.6,"top_p":0.9,"top_k":-1,"min_p":null,"repetition_penalty":1.05,"do_sample":true})");
  const absl::StatusOr<base::SamplingChoices> defaults = package->sampling_defaults();
  REQUIRE(defaults.ok());
  CHECK(defaults->temperature == 0.6);
  CHECK(defaults->top_k == -1);
  CHECK(defaults->repetition_penalty == 1.05);
  CHECK_FALSE(defaults->min_p.has_value());
  for (const char* text : {"[", R"({"temperature":-1})", R"({"top_p":1.5})", R"({"top_k":"all"})", R"({"top_k":-2})",
                           R"({"min_p":2})", R"({"repetition_penalty":0.005})"}) {
    INFO(text);
    copy.write("generation_config.json", text);
    const absl::Status status = package->sampling_defaults().status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()).find("generation_config.json: ") != std::string::npos);
  }
}

TEST_CASE("a path that is no folder is refused") {
  CHECK(ModelPackage::open("/nowhere/at/all").status().code() == absl::StatusCode::kNotFound);
  CHECK(ModelPackage::open(kDemo / "config.json").status().code() == absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace coppice::server
