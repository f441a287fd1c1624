// A package opened from the demo's folder and from folders that lack or spoil a part.
#include "server/model/model_package.h"
#include "tests/support/source_folder.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

const fs::path kDemo = fs::path(coppice::test::source_path("models/demo"));

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
  const absl::StatusOr<GenerationDefaults> defaults = (*package)->generation_defaults();
  REQUIRE(defaults.ok());
  CHECK(defaults->sampling.temperature == 0.7);
  CHECK(defaults->sampling.top_p == 0.9);
  CHECK_FALSE(defaults->sampling.min_p.has_value());
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
  CHECK_FALSE(package->generation_defaults()->sampling.temperature.has_value());
}

TEST_CASE("recommended sampling has the bounds of a request") {
  const DemoCopy copy;
  const auto package = copy.open();
  copy.write("generation_config.json",
             R"({"temperature":0.6,"top_p":0.9,"top_k":-1,"min_p":null,"repetition_penalty":1.05,"do_sample":true})");
  const absl::StatusOr<GenerationDefaults> defaults = package->generation_defaults();
  REQUIRE(defaults.ok());
  CHECK(defaults->sampling.temperature == 0.6);
  CHECK(defaults->sampling.top_k == -1);
  CHECK(defaults->sampling.repetition_penalty == 1.05);
  CHECK_FALSE(defaults->sampling.min_p.has_value());
  for (const char* text : {"[", R"({"temperature":-1})", R"({"top_p":1.5})", R"({"top_k":"all"})", R"({"top_k":-2})",
                           R"({"min_p":2})", R"({"repetition_penalty":0.005})"}) {
    INFO(text);
    copy.write("generation_config.json", text);
    const absl::Status status = package->generation_defaults().status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()).find("generation_config.json: ") != std::string::npos);
  }
}

TEST_CASE("the recommended length of an answer; what Python alone reads as numbers is absent") {
  const DemoCopy copy;
  const auto package = copy.open();
  copy.write("generation_config.json", R"({"max_new_tokens":256.0,"top_p":NaN,"temperature":-Infinity})");
  const absl::StatusOr<GenerationDefaults> defaults = package->generation_defaults();
  REQUIRE(defaults.ok());
  CHECK(defaults->max_tokens == 256);
  CHECK_FALSE(defaults->sampling.top_p.has_value());
  CHECK_FALSE(defaults->sampling.temperature.has_value());
  copy.write("generation_config.json", R"({"max_new_tokens":null})");
  CHECK_FALSE(package->generation_defaults()->max_tokens.has_value());
  for (const char* text : {R"({"max_new_tokens":0})", R"({"max_new_tokens":"many"})"}) {
    copy.write("generation_config.json", text);
    CHECK_THAT(std::string(package->generation_defaults().status().message()), Catch::Contains("max_new_tokens"));
  }
  copy.write("generation_config.json", "{]");
  CHECK_THAT(std::string(package->generation_defaults().status().message()),
             Catch::Contains("generation_config.json: the file is not valid JSON"));
}

TEST_CASE("a git-lfs pointer in the place of any file says so") {
  const DemoCopy copy;
  const auto package = copy.open();
  const models::ModelConfig config = package->config().value();
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\noid "
      "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e"
      "2393\nsize 12345\n";
  const auto complains = [](const absl::Status& status, const char* file) {
    INFO(status.ToString());
    CHECK_THAT(std::string(status.message()), Catch::Contains(file) && Catch::Contains("is a git-lfs pointer"));
  };
  for (const char* const name : {"tokenizer.model", "tokenizer_config.json"}) {
    fs::copy(copy.path() / name, copy.path() / "kept");
    copy.write(name, pointer);
    complains(package->text().status(), name);
    fs::rename(copy.path() / "kept", copy.path() / name);
  }
  copy.write("model.safetensors", pointer);
  complains(package->weights(config).status(), "model.safetensors");
  copy.write("generation_config.json", pointer);
  complains(package->generation_defaults().status(), "generation_config.json");
  copy.write("config.json", pointer);
  complains(package->config().status(), "config.json");
}

TEST_CASE("how embeddings are pooled and cut is the model's makers' word") {
  const DemoCopy copy;
  const auto package = copy.open();
  const absl::StatusOr<EmbeddingDefaults> plain = package->embedding_defaults();
  REQUIRE(plain.ok());
  CHECK(plain->pooling == openai::Pooling::kLast);
  CHECK_FALSE(plain->may_be_cut);
  fs::create_directories(copy.path() / "1_Pooling");
  const char* const kPooling = "1_Pooling/config.json";
  copy.write(kPooling,
             R"({"word_embedding_dimension":8,"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":false})");
  CHECK(package->embedding_defaults()->pooling == openai::Pooling::kMean);
  copy.write(kPooling, R"({"pooling_mode_mean_tokens":false,"pooling_mode_lasttoken":true})");
  CHECK(package->embedding_defaults()->pooling == openai::Pooling::kLast);
  copy.write(kPooling, R"({"pooling_mode":"mean"})");
  CHECK(package->embedding_defaults()->pooling == openai::Pooling::kMean);
  copy.write(kPooling, R"({"pooling_mode_cls_token":true})");
  CHECK(package->embedding_defaults().status().code() == absl::StatusCode::kUnimplemented);
  for (const char* text : {"[", "[]", R"({"pooling_mode":1})"}) {
    INFO(text);
    copy.write(kPooling, text);
    const absl::Status status = package->embedding_defaults().status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK(std::string(status.message()).find(kPooling) != std::string::npos);
  }
  copy.write(kPooling, R"({"pooling_mode":"mean"})");
  copy.write("config.json", R"({"is_matryoshka":true})");
  CHECK(package->embedding_defaults()->may_be_cut);
  copy.write("config.json", R"({"matryoshka_dimensions":[64,128]})");
  CHECK(package->embedding_defaults()->may_be_cut);
  CHECK(package->embedding_defaults()->dimensions == std::vector<std::int64_t>{64, 128});
  copy.write("config.json", R"({"matryoshka_dimensions":[0]})");
  CHECK(package->embedding_defaults().status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a path that is neither a folder nor a GGUF file is refused") {
  CHECK(ModelPackage::open("/nowhere/at/all").status().code() == absl::StatusCode::kNotFound);
  CHECK(ModelPackage::open(kDemo / "config.json").status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a folder with GGUF files is their model, if they are one") {
  const DemoCopy copy;
  copy.write("a-00001-of-00002.gguf", "no GGUF");
  copy.write("a-00002-of-00002.gguf", "no GGUF");
  CHECK(ModelPackage::open(copy.path()).ok());  // the config.json goes first
  fs::remove(copy.path() / "config.json");
  CHECK_THAT(std::string(ModelPackage::open(copy.path()).status().message()),
             Catch::Contains("a-00001-of-00002.gguf: not a GGUF file"));
  fs::remove(copy.path() / "a-00001-of-00002.gguf");
  fs::remove(copy.path() / "a-00002-of-00002.gguf");
  copy.write("master-of-puppets.gguf", "no GGUF");
  CHECK_THAT(std::string(ModelPackage::open(copy.path()).status().message()), Catch::Contains("not a GGUF file"));
  copy.write("b.gguf", "no GGUF");
  CHECK_THAT(std::string(ModelPackage::open(copy.path()).status().message()), Catch::Contains("several GGUF models"));
}

}  // namespace
}  // namespace coppice::server
