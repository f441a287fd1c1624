// GGUF: good files, and one bad file for every check.
#include "models/gguf.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/gguf_bytes.h"
#include "tests/support/safetensors_bytes.h"

namespace coppice::models {
namespace {

using tests::as_bytes;
using tests::gguf_text;
using tests::GgufBytes;
using tests::raw;
using tests::TemporaryFolder;

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ4K = 12;
constexpr std::uint32_t kArray = 9;

absl::StatusOr<ParsedGguf> parse(const std::string& file) {
  const auto bytes = as_bytes(file);
  return parse_gguf(bytes, "m.gguf");
}

std::string message_of(const std::string& file) {
  return std::string(parse(file).status().message());
}

GgufBytes good() {
  GgufBytes file;
  file.key("general.architecture", "llama");
  file.key("n", 2, raw(std::uint16_t{7})).key("i", 1, raw(std::int8_t{-3})).key("f", 6, raw(0.5F));
  file.key("b", 7, raw(std::uint8_t{1})).key("big", 10, raw(std::uint64_t{1} << 40));
  file.key("texts", kArray, raw(std::uint32_t{8}) + raw(std::uint64_t{2}) + gguf_text("a") + gguf_text(""));
  file.key("wholes", kArray, raw(std::uint32_t{5}) + raw(std::uint64_t{1}) + raw(std::int32_t{-9}));
  file.key("reals", kArray, raw(std::uint32_t{6}) + raw(std::uint64_t{0}));
  file.tensor("v", {3}, kF32, 0).tensor("m", {256, 2}, kQ4K, 32);
  file.data = std::string(32 + 288, 'x');
  return file;
}

TEST_CASE("gguf: a good file is read") {
  for (const std::uint32_t version : {2U, 3U}) {
    GgufBytes bytes = good();
    bytes.version = version;
    const std::string file = bytes.file();
    const absl::StatusOr<ParsedGguf> parsed = parse(file);
    INFO(parsed.status().ToString());
    REQUIRE(parsed.ok());
    CHECK(parsed->data_begin == file.size() - 320);
    const GgufMetadata& keys = parsed->metadata;
    CHECK(gguf_value<std::string>(keys, "general.architecture").value() == "llama");
    CHECK(gguf_value<std::int64_t>(keys, "n").value() == 7);
    CHECK(gguf_value<std::int64_t>(keys, "i").value() == -3);
    CHECK(gguf_value<double>(keys, "f").value() == 0.5);
    CHECK(gguf_value<double>(keys, "n").value() == 7.0);
    CHECK(gguf_value<bool>(keys, "b").value() == true);
    CHECK(gguf_value<std::int64_t>(keys, "big").value() == std::int64_t{1} << 40);
    CHECK(gguf_value<std::vector<std::string>>(keys, "texts").value() == std::vector<std::string>{"a", ""});
    CHECK(gguf_value<std::vector<std::int64_t>>(keys, "wholes").value() == std::vector<std::int64_t>{-9});
    CHECK(gguf_value<std::vector<double>>(keys, "reals").value() == std::vector<double>{});
    CHECK_FALSE(gguf_value<bool>(keys, "none").value().has_value());
    CHECK(std::string(gguf_value<bool>(keys, "n").status().message()) == "key \"n\": expected true or false");
    REQUIRE(parsed->entries.size() == 2);
    const GgufEntry& entry = parsed->entries.find("m")->second;
    CHECK(entry.type->name == "Q4_K");
    CHECK(entry.shape == std::vector<std::int64_t>{2, 256});
    CHECK(entry.begin == 32);
    CHECK(entry.bytes == 288);
  }
}

TEST_CASE("gguf: every file that is cut short is refused") {
  const std::string whole = good().file();
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const std::string message = message_of(whole.substr(0, bytes));
    INFO(bytes << ": " << message);
    REQUIRE(message.rfind("m.gguf: ", 0) == 0);
  }
}

TEST_CASE("gguf: every field of the header is checked") {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 62;
  struct Bad {
    std::function<void(GgufBytes&)> change;
    const char* part;
  };
  const Bad list[] = {
      {[](GgufBytes& file) { file.magic = "GGML"; }, "does not begin with GGUF"},
      {[](GgufBytes& file) { file.version = 1; }, "version 1"},
      {[](GgufBytes& file) { file.version = 0x03000000; }, "big-endian"},
      {[](GgufBytes& file) { file.version = 4; }, "version 4"},
      {[](GgufBytes& file) { file.key_count = kHuge; }, "at most"},
      {[](GgufBytes& file) { file.tensor_count = kHuge; }, "at most"},
      {[](GgufBytes& file) { file.key("b", "twice"); }, "key \"b\" comes twice"},
      {[](GgufBytes& file) { file.key("x", 8, raw(kHuge)); }, "key \"x\": a text of 4611686018427387904 bytes"},
      {[](GgufBytes& file) { file.key("x", 13, ""); }, "key \"x\": type 13"},
      {[](GgufBytes& file) { file.key("x", 7, raw(std::uint8_t{2})); }, "key \"x\": 2 is neither true nor false"},
      {[](GgufBytes& file) { file.key("x", 10, raw(~std::uint64_t{0})); }, "more than 2^63 - 1"},
      {[](GgufBytes& file) { file.key("x", kArray, raw(std::uint32_t{8}) + raw(kHuge)); }, "key \"x\": an array of"},
      {[](GgufBytes& file) { file.key("x", kArray, raw(std::uint32_t{0}) + raw(std::uint64_t{1} << 24)); },
       "an array of 16777216 values, at most"},
      {[](GgufBytes& file) { file.key("x", kArray, raw(kArray) + raw(std::uint64_t{1})); }, "an array of type 9"},
      {[](GgufBytes& file) { file.key("general.alignment", 4, raw(std::uint32_t{48})); }, "48 is no power of two"},
      {[](GgufBytes& file) { file.key("general.alignment", "x"); }, "expected a whole number"},
      {[](GgufBytes& file) { file.tensor("v", {1}, kF32, 0); }, "tensor \"v\" comes twice"},
      {[](GgufBytes& file) { file.tensor("t", {}, kF32, 0); }, "tensor \"t\": has 0 dimensions"},
      {[](GgufBytes& file) {
         file.tensor("t", {1, 1, 1, 1, 1}, kF32, 0);
       },
       "has 5 dimensions"},
      {[](GgufBytes& file) { file.tensor("t", {0}, kF32, 0); }, "a dimension of 0"},
      {[](GgufBytes& file) {
         file.tensor("t", {kHuge, 8}, kF32, 0);
       },
       "more than 2^63 elements"},
      {[](GgufBytes& file) { file.tensor("t", {kHuge}, kF32, 0); }, "overflows 64 bits"},
      {[](GgufBytes& file) { file.tensor("t", {1}, 4, 0); }, "tensor \"t\": has type 4"},
      {[](GgufBytes& file) { file.tensor("t", {255}, kQ4K, 0); }, "no whole blocks of 256, as Q4_K"},
      {[](GgufBytes& file) { file.tensor("t", {1}, kF32, 2); }, "multiples of 32"},
      {[](GgufBytes& file) { file.tensor("t", {64}, kF32, 288); }, "from byte 288 of the data"},
      {[](GgufBytes& file) { file.tensor("t", {1}, kF32, kHuge); }, "cut short or damaged"},
      {[](GgufBytes& file) { file.tensor("t", {4}, kF32, 64); }, "tensors \"m\" and \"t\" overlap"},
  };
  for (const Bad& bad : list) {
    GgufBytes file = good();
    bad.change(file);
    const std::string message = message_of(file.file());
    INFO(message);
    CHECK(message.find(bad.part) != std::string::npos);
  }
}

void write(const std::filesystem::path& path, const GgufBytes& bytes) {
  std::ofstream(path, std::ios::binary) << bytes.file();
}

GgufBytes part(const char* tensor, std::uint32_t number, std::uint32_t count) {
  GgufBytes file;
  file.key("split.no", number).key("split.count", count).key("split.tensors.count", 2);
  file.tensor(tensor, {2}, kF32, 0);
  file.data = std::string(8, tensor[0]);
  return file;
}

TEST_CASE("gguf: a model in several files") {
  const TemporaryFolder folder;
  const auto name = [&](const char* tail) { return folder.path() / (std::string("m-") + tail + ".gguf"); };
  write(name("00001-of-00002"), part("a", 0, 2));
  CHECK(absl::IsNotFound(GgufModel::open(name("00001-of-00002")).status()));
  write(name("00002-of-00002"), part("b", 1, 2));
  for (const char* given : {"00001-of-00002", "00002-of-00002"}) {  // either names the model
    const absl::StatusOr<GgufModel> model = GgufModel::open(name(given));
    INFO(model.status().ToString());
    REQUIRE(model.ok());
    REQUIRE(model->tensors().size() == 2);
    const GgufModel::Tensor& second = model->tensors().at("b");
    std::vector<std::byte> data(8);
    REQUIRE(second.file->read(static_cast<std::size_t>(second.offset), data).ok());
    CHECK(data == as_bytes("bbbbbbbb"));
  }
  write(name("00002-of-00002"), part("a", 1, 2));
  CHECK(std::string(GgufModel::open(name("00001-of-00002")).status().message()).find("also in another") !=
        std::string::npos);
  write(name("00002-of-00002"), part("b", 0, 2));
  CHECK(std::string(GgufModel::open(name("00001-of-00002")).status().message()).find("part 1 of 2, expected 2 of 2") !=
        std::string::npos);
  write(folder.path() / "one.gguf", part("b", 0, 1));
  CHECK(std::string(GgufModel::open(folder.path() / "one.gguf").status().message()).find("1 tensors, 2 were") !=
        std::string::npos);
  CHECK(absl::IsInvalidArgument(GgufModel::open(name("00003-of-00002")).status()));
}

}  // namespace
}  // namespace coppice::models
