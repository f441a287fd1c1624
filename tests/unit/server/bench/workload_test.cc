// The requests that a load run makes of a trace.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "nlohmann/json.hpp"
#include "server/bench/load.h"

namespace coppice::server {
namespace {

using nlohmann::json;

// A trace file that goes with the test.
class TraceFile {
 public:
  explicit TraceFile(const std::string& text)
      : path_(std::filesystem::temp_directory_path() / ("coppice_workload_test_" + std::to_string(getpid()))) {
    std::ofstream(path_) << text;
  }
  ~TraceFile() { std::filesystem::remove(path_); }
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  LoadOptions options() const {
    LoadOptions options;
    options.model = "m";
    options.trace.path = path_.string();
    return options;
  }

 private:
  std::filesystem::path path_;
};

json body_of(const LoadRequest& request) {
  return json::parse(request.body);
}

TEST_CASE("a trace's texts are asked at its times over the speed") {
  const TraceFile file(
      "{\"timestamp\": 1000000, \"input\": \"abcdefghij\xc3\xa9\", \"output\": \"12345678\", \"session_id\": \"s\"}\n"
      "{\"timestamp\": 4000000, \"input\": \"abc\", \"output\": \"\"}\n");
  LoadOptions options = file.options();
  options.trace.speed = 2;
  options.max_tokens = 17;
  auto requests = make_workload(options);
  REQUIRE(requests.ok());
  REQUIRE(requests->size() == 2);
  CHECK((*requests)[0].due_s == 0);
  CHECK((*requests)[1].due_s == 1.5);
  CHECK((*requests)[0].session == "s");
  CHECK((*requests)[0].target == "/v1/completions");
  CHECK(body_of((*requests)[0])["prompt"] == "abcdefghij\xc3\xa9");
  CHECK(body_of((*requests)[0])["max_tokens"] == 2);
  CHECK(body_of((*requests)[1])["max_tokens"] == 17);  // no text came: the option's

  options.trace.prompt_max = 2;  // eight bytes
  options.trace.output_max = 1;
  options.requests = 1;
  requests = make_workload(options);
  REQUIRE(requests.ok());
  REQUIRE(requests->size() == 1);
  CHECK(body_of((*requests)[0])["prompt"] == "abcdefgh");
  CHECK(body_of((*requests)[0])["max_tokens"] == 1);
}

TEST_CASE("a shortened text ends with a whole character") {
  const TraceFile file("{\"timestamp\": 0, \"input\": \"abc\xe2\x82\xac\"}\n");
  LoadOptions options = file.options();
  options.trace.prompt_max = 1;
  const auto requests = make_workload(options);
  REQUIRE(requests.ok());
  CHECK(body_of((*requests)[0])["prompt"] == "abc");
}

TEST_CASE("counted prompts have their length, share what their hash ids share and nothing else") {
  const TraceFile file(R"({"timestamp": 0, "input_length": 1030, "output_length": 1, "hash_ids": [5, 6]})"
                       "\n"
                       R"({"timestamp": 0, "input_length": 1000, "output_length": 1, "hash_ids": [5, 7]})"
                       "\n"
                       R"({"timestamp": 0, "input_length": 600, "output_length": 1})");
  LoadOptions options = file.options();
  options.trace.vocab = 1000;
  const auto requests = make_workload(options);
  REQUIRE(requests.ok());
  const json one = body_of((*requests)[0])["prompt"], two = body_of((*requests)[1])["prompt"];
  const json three = body_of((*requests)[2])["prompt"];
  REQUIRE(one.size() == 1030);
  REQUIRE(two.size() == 1000);
  REQUIRE(three.size() == 600);
  const auto same = [](const json& a, const json& b, std::size_t begin, std::size_t end) {
    std::size_t count = 0;
    for (std::size_t i = begin; i < end; ++i) {
      count += a[i] == b[i] ? 1 : 0;
    }
    return count;
  };
  CHECK(same(one, two, 0, 512) == 512);
  CHECK(same(one, two, 512, 1000) < 20);
  CHECK(same(one, three, 0, 600) < 20);
  for (const json& id : one) {
    CHECK((id >= 3 && id < 1000));
  }

  options.trace.vocab = 0;
  const auto words = make_workload(options);
  REQUIRE(words.ok());
  const auto text = body_of((*words)[2])["prompt"].get<std::string>();
  CHECK(std::count(text.begin(), text.end(), ' ') == 600);
}

TEST_CASE("a trace of another unit of time is refused, and two sources are") {
  const TraceFile file(
      "{\"timestamp\": 0, \"input\": \"a\"}\n{\"timestamp\": 4611686018427387904, \"input\": \"b\"}\n");
  LoadOptions options = file.options();
  auto requests = make_workload(options);
  REQUIRE_FALSE(requests.ok());
  CHECK(std::string(requests.status().message()).find("give a --speed") != std::string::npos);
  options.synthetic = "shared=1";
  CHECK(make_workload(options).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(make_workload(LoadOptions()).status().code() == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace coppice::server
