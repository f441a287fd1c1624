// Which files of a repository are fetched.
#include "server/hub/hub_files.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "fmt/format.h"

namespace coppice::server {
namespace {

using Names = std::vector<std::string>;

HubName name_of(const std::string& text) {
  return *parse_hub_name(text);
}

std::string problem_of(const absl::Status& status) {
  return std::string(status.message());
}

TEST_CASE("of a folder what a model needs, its config last") {
  const Names all = {".gitattributes",
                     "README.md",
                     "config.json",
                     "generation_config.json",
                     "model.safetensors",
                     "pytorch_model.bin",
                     "onnx/model.onnx",
                     "tokenizer.json",
                     "tokenizer_config.json",
                     "additional_chat_templates/rag.jinja",
                     "consolidated.safetensors",
                     "1_Pooling/config.json"};
  const auto files = choose_files(all, name_of("a/b"));
  REQUIRE(files.ok());
  CHECK(files->gguf.empty());
  CHECK(files->index.empty());
  CHECK(files->names.back() == "config.json");
  Names sorted = files->names;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == Names{"1_Pooling/config.json", "additional_chat_templates/rag.jinja", "config.json",
                        "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"});
}

TEST_CASE("an index brings its files, before itself") {
  const Names all = {"config.json", "model.safetensors.index.json", "model.safetensors", "m-1.safetensors",
                     "m-2.safetensors"};
  auto files = choose_files(all, name_of("a/b"));
  REQUIRE(files.ok());
  CHECK(files->index == "model.safetensors.index.json");
  const auto shards =
      read_index(R"({"weight_map":{"x":"m-2.safetensors","y":"m-1.safetensors","z":"m-2.safetensors"}})");
  REQUIRE(shards.ok());
  CHECK(*shards == Names{"m-1.safetensors", "m-2.safetensors"});
  add_shards(*shards, *files);
  CHECK(files->names == Names{"m-1.safetensors", "m-2.safetensors", "model.safetensors.index.json", "config.json"});
}

TEST_CASE("an index from outside") {
  const char* const json =
      GENERATE("", "[]", "{}", "5", "{", R"({"weight_map":{}})", R"({"weight_map":[]})", R"({"weight_map":{"a":1}})",
               R"({"weight_map":{"a":"../b"}})", R"({"weight_map":{"a":"/b"}})", R"({"weight_map":{"a":""}})",
               R"({"weight_map":{"a":"b\u0000c"}})", R"({"weight_map":{"a":{"b":{}}}})");
  CAPTURE(json);
  CHECK(absl::IsInvalidArgument(read_index(json).status()));
}

TEST_CASE("an index is bounded in depth, files and bytes") {
  CHECK_FALSE(read_index(std::string(1'000'000, '[')).ok());
  std::string many = R"({"weight_map":{)";
  for (int i = 0; i < 5000; ++i) {
    many += fmt::format("{}\"t{}\":\"f{}\"", i == 0 ? "" : ",", i, i);
  }
  CHECK(problem_of(read_index(many + "}}").status()).find("5000 files") != std::string::npos);
  CHECK_FALSE(read_index(R"({"weight_map":{"a":")" + std::string(std::size_t{65} << 20, 'b') + "\"}}").ok());
}

TEST_CASE("a GGUF file by a word of its name") {
  const Names all = {"m-Q4_K_M.gguf",      "m-Q4_K.gguf",      "m.q8_0.gguf",
                     "mmproj-m-Q8_0.gguf", "Q2_K/m-Q2_K.gguf", "imatrix.gguf"};
  const auto chosen = [&all](const char* name) {
    const auto files = choose_files(all, name_of(name));
    return files.ok() ? files->gguf : problem_of(files.status());
  };
  CHECK(chosen("a/b:Q4_K_M") == "m-Q4_K_M.gguf");
  CHECK(chosen("a/b:q4_k") == "m-Q4_K.gguf");
  CHECK(chosen("a/b:Q8_0") == "m.q8_0.gguf");
  CHECK(chosen("a/b:Q2_K") == "Q2_K/m-Q2_K.gguf");
  CHECK(chosen("a/b:m-Q4_K.gguf") == "m-Q4_K.gguf");
  CHECK(chosen("a/b:Q5_0") == "a/b: no GGUF file of Q5_0; there are Q2_K/m-Q2_K, m-Q4_K, m-Q4_K_M, m.q8_0");
  CHECK(chosen("a/b").find("several GGUF models: ") != std::string::npos);
}

TEST_CASE("a GGUF model of several files is taken whole or not at all") {
  const Names all = {"m-Q8_0-00002-of-00003.gguf", "m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf"};
  const auto files = choose_files(all, name_of("a/b"));
  REQUIRE(files.ok());
  CHECK(files->gguf == "m-Q8_0-00001-of-00003.gguf");
  CHECK(files->names.size() == 3);
  CHECK(files->names.back() == files->gguf);
  const auto part = choose_files({all[0], all[1]}, name_of("a/b:Q8_0"));
  CHECK(problem_of(part.status()) == "a/b: m-Q8_0 has 2 of 3 files");
  CHECK_FALSE(choose_files({"m-00000-of-00000.gguf"}, name_of("a/b")).ok());
  CHECK_FALSE(choose_files({"m-00001-of-99999.gguf"}, name_of("a/b")).ok());
}

TEST_CASE("a repository without a model says so") {
  CHECK(problem_of(choose_files({"pytorch_model.bin", "config.json"}, name_of("a/b")).status()).find("nothing that") !=
        std::string::npos);
  CHECK(absl::IsNotFound(choose_files({}, name_of("a/b:Q4_0")).status()));
}

TEST_CASE("only weights may be as large as they like") {
  CHECK(file_bytes_most("config.json") == std::uint64_t{4} << 20);
  CHECK(file_bytes_most("1_Pooling/config.json") == std::uint64_t{4} << 20);
  CHECK(file_bytes_most("model.safetensors.index.json") == std::uint64_t{64} << 20);
  CHECK(file_bytes_most("tokenizer.json") == std::uint64_t{128} << 20);
  CHECK(file_bytes_most("chat_template.jinja") <= std::uint64_t{128} << 20);
  CHECK(file_bytes_most("model-00001-of-00002.safetensors") >= std::uint64_t{1} << 40);
  CHECK(file_bytes_most("x/model.gguf") >= std::uint64_t{1} << 40);
}

TEST_CASE("a repository may not list templates without end") {
  std::vector<std::string> all = {"config.json", "model.safetensors"};
  for (int i = 0; i < 64; ++i) {
    all.push_back(fmt::format("additional_chat_templates/{}.jinja", i));
  }
  CHECK(choose_files(all, name_of("a/b")).ok());
  all.emplace_back("additional_chat_templates/one_more.jinja");
  CHECK(choose_files(all, name_of("a/b")).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace coppice::server
