// Safetensors: good files of every layout, and one bad file for every check.
#include "models/safetensors.h"

#include <sys/stat.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "models/limits.h"
#include "tests/support/safetensors_bytes.h"

namespace coppice::models {
namespace {

using tests::as_bytes;
using tests::safetensors_file;
using tests::TemporaryFolder;

std::string message_of(const std::string& file) {
  const auto bytes = as_bytes(file);
  return std::string(parse_safetensors(bytes, "f.safetensors").status().message());
}

std::string message_of(const std::string& header, std::size_t data_bytes) {
  return message_of(safetensors_file(header, std::string(data_bytes, 'x')));
}

TEST_CASE("safetensors: a good file is read") {
  const auto bytes = as_bytes(
      safetensors_file(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                       R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"e":{"dtype":"I64","shape":[0,9],)"
                       R"("data_offsets":[16,16]}}  )",
                       std::string(16, 'x')));
  const absl::StatusOr<ParsedSafetensors> parsed = parse_safetensors(bytes, "f");
  INFO(parsed.status().ToString());
  REQUIRE(parsed.ok());
  CHECK(parsed->data_begin == bytes.size() - 16);
  REQUIRE(parsed->entries.size() == 3);
  const SafetensorsEntry& entry = parsed->entries.find("b")->second;
  CHECK(entry.dtype == "BF16");
  CHECK(entry.shape == std::vector<std::int64_t>{2, 3});
  CHECK(entry.begin == 4);
  CHECK(entry.end == 16);
}

TEST_CASE("safetensors: every field of the header is checked") {
  struct Bad {
    const char* header;
    std::size_t data_bytes;
    const char* part;
  };
  const Bad list[] = {
      {"", 0, "must begin with {"},
      {"  {}", 0, "must begin with {"},
      {"[]", 0, "must begin with {"},
      {"{", 0, "not JSON"},
      {"{}x", 0, "not JSON"},
      {"{}", 3, "the tensors end at byte 0 of the data, but the file has 3"},
      {R"({"a":1})", 0, "must be an object"},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "dtype must be"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "got \"F31\""},
      {R"({"a":{"dtype":4,"shape":[1],"data_offsets":[0,4]}})", 4, "dtype must be"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "shape must be"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "got -1"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "got 1.0"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4, "got \"1\""},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4, "below 2^63"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4, "at most 16"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "data_offsets must be"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4, "data_offsets must be"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,4]}})", 4, "data_offsets must be"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "must ascend"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,5]}})", 4, "within the 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[18446744073709551612,18446744073709551615]}})", 4,
       "within the 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "take 8 bytes"},
      // 2^62 × 4 elements of 4 bytes is 2^66: 0 in 64 bits, and 4294967296² × 4 wraps to 0 as well.
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}})", 4, "unknown field \"more\""},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "\"a\" stands twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "\"dtype\" stands twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "(hole)"},
      {R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[8,12]}})",
       12, "(hole)"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
       6, "(overlap)"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "(overlap)"},
      {R"({"__metadata__":[]})", 0, "__metadata__ must be"},
      {R"({"__metadata__":{"n":1}})", 0, "__metadata__ \"n\" must be a string, got 1"},
      {R"({"__metadata__":{"n":{"x":{"y":{}}}}})", 0, "nested deeper"},
  };
  for (const Bad& bad : list) {
    const std::string message = message_of(bad.header, bad.data_bytes);
    INFO(bad.header << " -> " << message);
    CHECK(message.find(bad.part) != std::string::npos);
    CHECK(message.find("f.safetensors") == 0);
  }
}

TEST_CASE("safetensors: the header length is checked against the file") {
  CHECK(message_of("").find("too few") != std::string::npos);
  CHECK(message_of("1234567").find("too few") != std::string::npos);
  std::string file = safetensors_file("{}", "");
  CHECK(message_of(file).empty());
  file[0] = 3;
  CHECK(message_of(file).find("its header would have 3") != std::string::npos);
  for (int i = 0; i < 8; ++i) {
    file[static_cast<std::size_t>(i)] = static_cast<char>(0xFF);
  }
  CHECK(message_of(file).find("its header would have 18446744073709551615 bytes") != std::string::npos);
}

TEST_CASE("safetensors index: file names stay in the folder") {
  const auto message = [](const std::string& text) {
    return std::string(parse_safetensors_index(text, "index").status().message());
  };
  CHECK(message(R"({"weight_map":{"a":"x.safetensors"}})").empty());
  for (const char* name : {"../x", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a\\u0000b"}) {
    INFO(name);
    CHECK(message(std::string(R"({"weight_map":{"a":")") + name + "\"}}").find("same folder") != std::string::npos);
  }
  for (const char* text : {"{}", "[]", "3", R"({"weight_map":[]})", R"({"weight_map":{}})"}) {
    CHECK(message(text).find("weight_map must be") != std::string::npos);
  }
  CHECK(message(R"({"weight_map":{"a":3}})").find("got 3") != std::string::npos);
  CHECK(message(R"({"weight_map":{"a":"x","a":"y"}})").find("stands twice") != std::string::npos);
}

TEST_CASE("safetensors folder: shards and index must agree") {
  const std::string first = safetensors_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "aaaa");
  const std::string second = safetensors_file(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "bbbb");
  const TemporaryFolder folder;
  const auto message = [&] { return std::string(SafetensorsFolder::open(folder.path()).status().message()); };
  CHECK(absl::IsNotFound(SafetensorsFolder::open(folder.path()).status()));
  folder.write("1.safetensors", first);
  folder.write("2.safetensors", second);
  const char* index = "model.safetensors.index.json";
  folder.write(index, R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  const auto opened = SafetensorsFolder::open(folder.path());
  INFO(opened.status().ToString());
  REQUIRE(opened.ok());
  REQUIRE(opened->tensors().size() == 2);
  const auto& tensor = opened->tensors().find("b")->second;
  std::vector<std::byte> data(tensor.bytes());
  REQUIRE(tensor.read(data).ok());
  CHECK(data == as_bytes("bbbb"));
  folder.write(index, R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})");
  CHECK(message().find("said to be in 2.safetensors, but found in 1.safetensors") != std::string::npos);
  folder.write(index, R"({"weight_map":{"a":"1.safetensors","c":"2.safetensors"}})");
  CHECK(message().find("tensor \"c\": said to be in 2.safetensors, but found in no shard") != std::string::npos);
  folder.write(index, R"({"weight_map":{"a":"1.safetensors","b":"3.safetensors"}})");
  CHECK(absl::IsNotFound(SafetensorsFolder::open(folder.path()).status()));
  folder.write("3.safetensors", first);
  folder.write(index, R"({"weight_map":{"a":"1.safetensors","b":"3.safetensors"}})");
  CHECK(message().find("tensor \"a\": is also in 1.safetensors") != std::string::npos);
  // The single file comes first, as transformers has it.
  folder.write("model.safetensors", second);
  CHECK(SafetensorsFolder::open(folder.path())->tensors().size() == 1);
}

std::string header_of_tensors(std::size_t count) {
  std::string header = "{";
  for (std::size_t i = 0; i < count; ++i) {
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  }
  return header + "}";
}

TEST_CASE("safetensors: the time of a header grows with its size, and tensors are counted") {
  const auto seconds_of = [](std::size_t count) {
    const auto bytes = as_bytes(safetensors_file(header_of_tensors(count), ""));
    const auto begin = std::chrono::steady_clock::now();
    REQUIRE(parse_safetensors(bytes, "f").ok());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  CHECK(seconds_of(50'000) < 20);  // far from a minute and more, whatever else the machine does
  CHECK(seconds_of(100'000) / std::max(seconds_of(12'500), 1e-3) < 40);  // 8 times the names; 64 were a square
  CHECK(message_of(safetensors_file(header_of_tensors(kTensorsMost + 1), "")).find("at most 262144 are read") !=
        std::string::npos);
}

TEST_CASE("safetensors: a file that shrinks after it was opened is an error") {
  const TemporaryFolder folder;
  folder.write("model.safetensors",
               safetensors_file(R"({"a":{"dtype":"U8","shape":[9000000],"data_offsets":[0,9000000]}})",
                                std::string(9'000'000, 'a')));
  const auto opened = SafetensorsFolder::open(folder.path());
  REQUIRE(opened.ok());
  const auto& tensor = opened->tensors().find("a")->second;
  std::vector<std::byte> data(tensor.bytes());
  REQUIRE(tensor.read(data).ok());
  CHECK(data.back() == static_cast<std::byte>('a'));
  std::filesystem::resize_file(folder.path() / "model.safetensors", 5'000'000);
  const absl::Status status = tensor.read(data);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK(std::string(status.message()).find("has shrunk") != std::string::npos);
}

TEST_CASE("safetensors folder: only regular files are opened") {
  const TemporaryFolder folder;
  REQUIRE(::mkfifo((folder.path() / "model.safetensors").c_str(), 0600) == 0);
  const std::string message(SafetensorsFolder::open(folder.path()).status().message());
  CHECK(message.find("not a regular file") != std::string::npos);
  const TemporaryFolder other;
  std::filesystem::create_directory(other.path() / "model.safetensors");
  CHECK_FALSE(SafetensorsFolder::open(other.path()).ok());
}

}  // namespace
}  // namespace coppice::models
