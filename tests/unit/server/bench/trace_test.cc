// Traces as they are published, and as a careless or hostile hand may write them.
#include "server/bench/trace.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

// A folder that goes with the test.
class Folder {
 public:
  Folder() : path_(fs::temp_directory_path() / ("coppice_trace_test_" + std::to_string(getpid()))) {
    fs::create_directories(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name) << text;
    return (path_ / name).string();
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

constexpr const char* kHeader = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n";

// What read_trace says of a file with that text, behind the file's name.
std::string refusal(const std::string& text) {
  const Folder folder;
  const std::string path = folder.write("bad.jsonl", text);
  const auto trace = read_trace(path);
  REQUIRE_FALSE(trace.ok());
  const std::string message(trace.status().message());
  REQUIRE(message.substr(0, path.size()) == path);
  return message.substr(path.size());
}

TEST_CASE("a CSV of times and counts is read, whatever the order of its lines") {
  const Folder folder;
  const auto trace =
      read_trace(folder.write("azure.csv", std::string(kHeader) + "2023-12-31 23:59:59.5000000,374,44\r\n"
                                                                  "2024-01-01 00:00:01.2500009,91,0\r\n"
                                                                  "2023-12-31 23:59:58,5,6\r\n\r\n"
                                                                  "2024-03-01T00:00:00.1+00:00,7,8\r\n"));
  REQUIRE(trace.ok());
  REQUIRE(trace->size() == 4);
  CHECK((*trace)[0].prompt_tokens == 5);
  CHECK((*trace)[0].at_s == 0);
  CHECK((*trace)[1].at_s == 1.5);
  CHECK((*trace)[1].output_tokens == 44);
  CHECK((*trace)[2].at_s == 3.25);
  CHECK((*trace)[2].output_tokens == 1);
  CHECK((*trace)[3].at_s == 60 * 86400 + 2.1);  // January and the leap February behind it
}

TEST_CASE("lines end with the file too, and blank ones count") {
  const Folder folder;
  const std::string row = R"({"timestamp": 1, "input_length": 3, "output_length": 2})";
  const auto trace = read_trace(folder.write("a.jsonl", row + "\n\n" + row));
  REQUIRE(trace.ok());
  CHECK(trace->size() == 2);
  CHECK(refusal(row + "\n\n" + std::string("\0", 1)).substr(0, 3) == ":3:");
}

TEST_CASE("texts come with their session and lengths at four bytes a token") {
  const Folder folder;
  const auto trace =
      read_trace(folder.write("agent.jsonl", R"({"timestamp": 1760428436442742, "input": "Hello there", )"
                                             R"("output": "Hi!!!", "session_id": "s1"})"
                                             "\n"
                                             R"({"timestamp": 1760428434442742, "input": "Hello", )"
                                             R"("output": "", "session_id": "s2"})"));
  REQUIRE(trace.ok());
  REQUIRE(trace->size() == 2);
  CHECK((*trace)[0].session == "s2");
  CHECK((*trace)[0].output_tokens == 0);
  CHECK((*trace)[1].text == "Hello there");
  CHECK((*trace)[1].at_s == 2);
  CHECK((*trace)[1].prompt_tokens == 3);
  CHECK((*trace)[1].output_tokens == 2);
}

TEST_CASE("counts with hash ids keep the ids") {
  const Folder folder;
  const auto trace = read_trace(
      folder.write("blocks.jsonl", R"({"timestamp": 500, "input_length": 1000, "output_length": 9, "hash_ids": [7, 8]})"
                                   "\n"
                                   R"({"timestamp": 2000, "input_length": 3, "output_length": 1})"));
  REQUIRE(trace.ok());
  CHECK(((*trace)[0].blocks == std::vector<std::int64_t>{7, 8}));
  CHECK((*trace)[1].at_s == 1.5);
  CHECK((*trace)[1].blocks.empty());
}

TEST_CASE("a folder's files are one trace") {
  const Folder folder;
  folder.write("b.jsonl", R"({"timestamp": 3000000, "input": "second"})");
  folder.write("a.jsonl", R"({"timestamp": 3000000, "input": "first"})");
  folder.write("notes.txt", "not a trace");
  const auto trace = read_trace(folder.path());
  REQUIRE(trace.ok());
  REQUIRE(trace->size() == 2);
  CHECK((*trace)[0].text == "first");
  CHECK((*trace)[1].text == "second");
}

TEST_CASE("a bad line is refused by its number") {
  const std::string header = kHeader;
  CHECK(refusal(header + "2023-11-16 18:15:46,1,1\nrubbish\n") ==
        ":3: three values with commas between them are expected");
  for (const char* time : {"2023-02-29 00:00:00", "2023-11-16 24:00:00", "0000-01-01 00:00:00", "2023-11-16 18:15:46.",
                           "2023-11-16 18:15:46.12345678901", "2023-11-16 18:15:46.1x", "-023-11-16 18:15:46", ""}) {
    CAPTURE(time);
    CHECK(refusal(header + time + ",1,1\n") == ":2: the time is not of the form 2023-11-16 18:15:46.6805900");
  }
  for (const char* counts : {"0,1", "-1,1", "1,-1", "99999999999999999999,1", "1,10000001", "1.5,1", "1,1,1", ","}) {
    CAPTURE(counts);
    CHECK(refusal(header + "2023-11-16 18:15:46," + counts + "\n") ==
          ":2: tokens must be whole numbers, of the context 1 to 10000000, generated 0 to 10000000");
  }
  const std::string time_bounds = ":1: \"timestamp\" must be a whole number from 0 to 4611686018427387904";
  for (const char* time : {"-1", "1e300", "18446744073709551615", "4611686018427387905", "1.5", "\"1\"", "null"}) {
    CAPTURE(time);
    CHECK(refusal(std::string("{\"input\": \"x\", \"timestamp\": ") + time + "}") == time_bounds);
  }
  CHECK(refusal(R"({"input": "x"})") == time_bounds);
  CHECK(refusal(R"({"timestamp": 1, "input": ""})") == ":1: \"input\" must be a text that is not empty");
  CHECK(refusal(R"({"timestamp": 1, "input": "x", "output": 1})") == ":1: \"output\" must be a text");
  CHECK(refusal(R"({"timestamp": 1, "input": "x", "session_id": 1})") == ":1: \"session_id\" must be a text");
  CHECK(refusal("\n\n{\"timestamp\": 1}") == ":3: neither \"input\" nor \"input_length\"");
  CHECK(refusal("[1]") == ":1: neither a JSON object nor the header TIMESTAMP,ContextTokens,GeneratedTokens");
  CHECK(refusal(R"({"timestamp": 1, "input_length": 0, "output_length": 1})") ==
        ":1: \"input_length\" must be a whole number from 1 to 10000000");
  CHECK(refusal(R"({"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": [-1]})") ==
        ":1: \"hash_ids\" must be whole numbers from 0 to 9007199254740991");
  CHECK(refusal("{\"timestamp\": 1, \"input\": \"" + std::string(17 << 20, 'x') + "\"}") == ":1: longer than 16 MiB");
}

TEST_CASE("an empty trace and one that is not there are refused") {
  CHECK(refusal("") == ": no requests in it");
  CHECK(refusal(kHeader) == ": no requests in it");
  CHECK(read_trace("/nowhere/trace.csv").status().code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace coppice::server
