// The files of a batch: what is refused, in which order lines run, what is kept of an earlier run's answers wherever it
// was cut off.
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

#include "server/batch/batch_input.h"
#include "server/batch/batch_output.h"

#include "tests/support/full_disk.h"

namespace coppice::server {
namespace {

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("batch_files_test." + std::to_string(::getpid()))) {
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

std::string request(const std::string& id, const std::string& prompt, const std::string& url = "/v1/completions") {
  return R"({"custom_id":")" + id + R"(","method":"POST","url":")" + url + R"(","body":{"prompt":")" + prompt +
         R"("}})";
}

// Scans `slice` bytes at a time.
std::vector<BatchLine> lines_of(BatchInput& input, std::size_t slice = std::numeric_limits<std::size_t>::max(),
                                const BatchInput::OnBad& on_bad = nullptr) {
  while (!input.is_scanned()) {
    REQUIRE(input.scan(slice, on_bad).ok());
  }
  std::vector<BatchLine> lines;
  for (const BatchInput::Entry& entry : input.entries()) {
    absl::StatusOr<BatchLine> line = input.read(entry);
    REQUIRE(line.ok());
    lines.push_back(*std::move(line));
  }
  return lines;
}

const std::string kMixed = request("a", "x") + "\n\n[1]\n" + request("a", "y") + "\n" +
                           R"({"custom_id":"b","method":"GET","url":"/v1/completions","body":{}})" + "\r\n" +
                           R"({"custom_id":"c","method":"POST","url":"/v1/chat/completions","body":{"messages":[]}})" +
                           "\n" + request(std::string(513, 'i'), "x") + "\n \t\n" + request("d", "z", "/v1/embeddings");

}  // namespace

TEST_CASE("every line of a batch is a request or says why not, however it is read", "[batch]") {
  const Folder folder;
  const auto path = folder.write("in", kMixed);
  for (const std::size_t slice : {std::size_t{1}, std::size_t{7}, std::size_t{1000}, std::size_t{1} << 40}) {
    BatchInput input(base::RegularFile::open(path).value(), {}, 0);
    std::size_t bad = 0;
    const auto lines = lines_of(input, slice, [&bad](const BatchLine& line) { bad += line.refusal.empty() ? 0 : 1; });
    REQUIRE(lines.size() == 7);
    CHECK(bad == 5);
    CHECK(input.lines() == 9);
    CHECK(lines[0].refusal.empty());
    CHECK(lines[0].body == openai::Json({{"prompt", "x"}}));
    CHECK_THAT(lines[1].refusal, Catch::StartsWith("line 3: not an object"));
    CHECK(lines[2].refusal == "line 4: custom_id 'a' is already used by line 1");
    CHECK(lines[2].custom_id.empty());
    CHECK(lines[3].refusal == "line 5: 'method' must be \"POST\"");
    CHECK(lines[4].endpoint == find_batch_endpoint("/v1/chat/completions"));
    CHECK_THAT(lines[5].refusal, Catch::StartsWith("line 7: 'custom_id' must be a string of 1 to 512 bytes"));
    CHECK(lines[6].refusal ==
          "line 9: 'url' must be \"/v1/chat/completions\" or \"/v1/completions\"; got \"/v1/embeddings\"");
  }
}

TEST_CASE("a line longer than allowed, more lines than allowed, another endpoint", "[batch]") {
  const Folder folder;
  openai::RequestLimits limits;
  limits.body_bytes_max = 200;
  const auto path = folder.write("in", request("a", "x") + "\n" + request("b", std::string(300, 'y')) + "\n" +
                                           request("c", "z") + "\n" + request("d", std::string(300, 'y')));
  for (const std::size_t slice : {std::size_t{1}, std::size_t{1} << 40}) {
    BatchInput input(base::RegularFile::open(path).value(), limits, 0, find_batch_endpoint("/v1/completions"));
    const auto lines = lines_of(input, slice);
    REQUIRE(lines.size() == 4);
    CHECK(lines[0].refusal.empty());
    CHECK(lines[1].refusal == "line 2: it has more than 200 bytes");
    CHECK(lines[2].custom_id == "c");
    CHECK(lines[3].refusal == "line 4: it has more than 200 bytes");
  }
  BatchInput few(base::RegularFile::open(path).value(), limits, 3);
  CHECK(few.scan(std::size_t{1} << 40, nullptr).code() == absl::StatusCode::kInvalidArgument);
  BatchInput other(base::RegularFile::open(path).value(), limits, 0, find_batch_endpoint("/v1/chat/completions"));
  CHECK_THAT(lines_of(other)[0].refusal, Catch::Contains("must be the batch's endpoint"));
  BatchInput empty(base::RegularFile::open(folder.write("none", "\n\n")).value(), limits, 0);
  CHECK(lines_of(empty).empty());
}

TEST_CASE("lines whose prompts begin alike stand side by side, else as in the file", "[batch]") {
  const Folder folder;
  const std::string king = "Once upon a time there was a king who had three sons and a garden with a wall. ";
  const std::string sea = "The sea was calm and the old ship lay in the harbour, waiting for wind and for men. ";
  std::string text;
  std::vector<std::string> expected;
  for (int i = 0; i < 12; ++i) {
    text += request(std::to_string(i), (i % 3 == 0 ? king : i % 3 == 1 ? sea : "short ") + std::to_string(i)) + "\n";
  }
  for (const int first : {0, 1}) {
    for (int i = first; i < 12; i += 3) {
      expected.push_back(std::to_string(i));
    }
  }
  BatchInput input(base::RegularFile::open(folder.write("in", text)).value(), {}, 0);
  std::vector<std::string> order;
  for (const BatchLine& line : lines_of(input)) {
    order.push_back(line.custom_id);
  }
  const auto place = [&order](const std::string& id) {
    return std::find(order.begin(), order.end(), id) - order.begin();
  };
  for (std::size_t i = 1; i < expected.size(); ++i) {
    if (i != 4) {  // from one group to the other
      CHECK(place(expected[i]) == place(expected[i - 1]) + 1);
    }
  }
  CHECK(place("2") < place("5"));
  CHECK(order.front() == "0");
}

TEST_CASE("an output cut off at any byte keeps its whole lines and takes the others again", "[batch]") {
  const Folder folder;
  const std::string first = write_batch_answer(line_of(1, "a"), 200, R"({"text":"\u00e9\n"})") + "\n";
  const std::string all = first + write_batch_refusal(line_of(2, ""), "invalid_line", "line 2: why") + "\n";
  for (std::size_t cut = 0; cut <= all.size(); ++cut) {
    const auto path = folder.write("out", all.substr(0, cut));
    {
      absl::StatusOr<BatchOutput> output = BatchOutput::open(path);
      REQUIRE(output.ok());
      CHECK(output->has(line_of(1, "a")) == (cut >= first.size()));
      CHECK(output->has(line_of(7, "a")) == (cut >= first.size()));
      CHECK(output->has(line_of(2, "")) == (cut == all.size()));
      CHECK_FALSE(output->has(line_of(3, "b")));
      CHECK_FALSE(BatchOutput::open(path).ok());  // one process at a time
      REQUIRE(output->append(write_batch_answer(line_of(3, "b"), 400, "{}")).ok());
    }
    const std::string kept = cut == all.size() ? all : cut >= first.size() ? first : "";
    CHECK(Folder::read(path) == kept + write_batch_answer(line_of(3, "b"), 400, "{}") + "\n");
  }
  const auto notes = folder.write("notes", "hello\n");
  CHECK(BatchOutput::open(notes).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(Folder::read(notes) == "hello\n");
}

TEST_CASE("a line that the disk has no room for leaves nothing of itself", "[batch]") {
  const Folder folder;
  const auto path = folder.write("out", "");
  absl::StatusOr<BatchOutput> output = BatchOutput::open(path);
  REQUIRE(output.ok());
  const std::string first = write_batch_answer(line_of(1, "a"), 200, "{}");
  REQUIRE(output->append(first).ok());
  {
    const FullDisk disk(first.size() + 20);
    CHECK_FALSE(output->append(write_batch_answer(line_of(2, "b"), 200, "{}")).ok());
    CHECK(Folder::read(path) == first + "\n");
  }
  REQUIRE(output->append(first).ok());
  CHECK(Folder::read(path) == first + "\n" + first + "\n");
}

TEST_CASE("a line's id gives its number back", "[batch]") {
  CHECK(batch_line_number(line_of(123, "a").id()) == 123);
  for (const char* const other : {"", "batch_req_", "batch_req_x", "batch_req_1x", "1", "batch_req_-1"}) {
    CHECK(batch_line_number(other) == 0);
  }
}

}  // namespace coppice::server
