// The files of a batch: what is refused, what is kept of an earlier run's answers, wherever it was cut off.
#include "server/batch/batch_file.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace coppice::server {
namespace {

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("batch_file_test." + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  static std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

 private:
  std::filesystem::path path_;
};

BatchLine line_of(std::size_t number, std::string custom_id) {
  BatchLine line;
  line.number = number;
  line.custom_id = std::move(custom_id);
  return line;
}

TEST_CASE("Every line of a batch is a request or says why not") {
  const Folder folder;
  const auto path =
      folder.write("in", R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"x"}})"
                         "\n\n[1]\n"
                         R"({"custom_id":"a","method":"POST","url":"/v1/completions","body":{"prompt":"y"}})"
                         "\n"
                         R"({"custom_id":"b","method":"GET","url":"/v1/completions","body":{}})"
                         "\r\n"
                         R"({"custom_id":"c","method":"POST","url":"/v1/chat/completions","body":{"messages":[]}})");
  const auto lines = read_batch(path, {});
  REQUIRE(lines.ok());
  REQUIRE(lines->size() == 5);
  CHECK((*lines)[0].refusal.empty());
  CHECK((*lines)[0].body == openai::Json({{"prompt", "x"}}));
  CHECK_THAT((*lines)[1].refusal, Catch::StartsWith("line 3: not an object"));
  CHECK((*lines)[2].refusal == "line 4: custom_id 'a' is already used by line 1");
  CHECK((*lines)[2].custom_id.empty());
  CHECK((*lines)[3].refusal == "line 5: 'method' must be \"POST\"");
  CHECK((*lines)[4].kind == openai::RequestKind::kChat);
  CHECK(read_batch("/nowhere/in", {}).status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("An output cut off at any byte keeps its whole lines and takes the others again") {
  const Folder folder;
  const std::string first = write_batch_answer(line_of(1, "a"), 200, R"({"text":"\u00e9\n"})") + "\n";
  BatchLine refused = line_of(2, "");
  refused.refusal = "line 2: why";
  const std::string all = first + write_batch_refusal(refused) + "\n";
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    const auto path = folder.write("out", all.substr(0, cut));
    {
      absl::StatusOr<BatchOutput> output = BatchOutput::open(path, {});
      REQUIRE(output.ok());
      CHECK(output->has(line_of(1, "a")) == (cut >= first.size()));
      CHECK(output->has(line_of(7, "a")) == (cut >= first.size()));
      CHECK(output->has(refused) == (cut == all.size()));
      CHECK_FALSE(output->has(line_of(3, "b")));
      CHECK_FALSE(BatchOutput::open(path, {}).ok());  // one process at a time
      REQUIRE(output->append(write_batch_answer(line_of(3, "b"), 400, "{}")).ok());
    }
    const std::string kept = cut == all.size() ? all : cut >= first.size() ? first : "";
    CHECK(Folder::read(path) == kept + write_batch_answer(line_of(3, "b"), 400, "{}") + "\n");
  }
  const auto notes = folder.write("notes", "hello\n");
  CHECK(BatchOutput::open(notes, {}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Folder::read(notes) == "hello\n");
}

}  // namespace
}  // namespace coppice::server
