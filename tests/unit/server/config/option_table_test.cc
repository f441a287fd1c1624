// Options from flags and from YAML: types, bounds, precedence, and errors that say how to mend.
#include "server/config/option_table.h"

#include <unistd.h>
#include <catch2/catch.hpp>

#include <cstdio>
#include <filesystem>
#include <fstream>

using coppice::server::edit_distance;
using coppice::server::OptionTable;

namespace {

struct Options {
  std::int32_t running = 7;
  bool sharing = true;
  std::size_t memory = 0;
  double timeout_s = 1;
  std::string device = "auto";
  std::uint64_t seed = 0;
  bool seed_given = false;
};

OptionTable table_for(Options& options) {
  OptionTable table;
  table.add_integer("max-running", &options.running, 1, 4096, "sequences in a step");
  table.add_switch("sharing", &options.sharing, "share");
  table.add_bytes("kv-memory", &options.memory, "bytes");
  table.add_number("request-timeout", &options.timeout_s, 0, 1e6, "seconds");
  table.add_text("device", &options.device, "device", {"auto", "cpu", "cuda"});
  table.add_seed("seed", &options.seed, &options.seed_given, "seed");
  return table;
}

std::string message_of(const absl::Status& status) {
  return std::string(status.message());
}

std::string scratch_name() {
  static int count = 0;
  return (std::filesystem::temp_directory_path() /
          ("coppice_options_" + std::to_string(getpid()) + "_" + std::to_string(count++)))
      .string();
}

// A file that is gone when the test ends.
struct ScratchFile {
  explicit ScratchFile(const std::string& text) : path(scratch_name()) { std::ofstream(path) << text; }
  ~ScratchFile() { std::remove(path.c_str()); }
  std::string path;
};

}  // namespace

TEST_CASE("values are typed and bounded", "[options]") {
  Options options;
  OptionTable table = table_for(options);
  CHECK(table.set("max-running", "4096").ok());
  CHECK(options.running == 4096);
  for (const char* bad : {"0", "4097", "-1", "", "1x", "1.5", "99999999999999999999"}) {
    CHECK(message_of(table.set("max-running", bad)).find("1 to 4096") != std::string::npos);
  }
  CHECK(table.set("sharing", "off").ok());
  CHECK_FALSE(options.sharing);
  CHECK_FALSE(table.set("sharing", "maybe").ok());
  CHECK(table.set("kv-memory", "3GiB").ok());
  CHECK(options.memory == 3ULL << 30);
  CHECK(table.set("kv-memory", "123").ok());
  CHECK(options.memory == 123);
  for (const char* bad : {"", "GiB", "3GB", "-3GiB", "99999999999TiB"}) {
    CHECK_FALSE(table.set("kv-memory", bad).ok());
  }
  CHECK(table.set("request-timeout", "2.5").ok());
  CHECK(options.timeout_s == 2.5);
  CHECK_FALSE(table.set("request-timeout", "nan").ok());
  CHECK(message_of(table.set("device", "gpu")).find("auto, cpu, cuda") != std::string::npos);
  CHECK(table.set("seed", "18446744073709551615").ok());
  CHECK(options.seed_given);
}

TEST_CASE("an unknown name is told the nearest one", "[options]") {
  Options options;
  OptionTable table = table_for(options);
  CHECK(message_of(table.set("max-runing", "1")).find("\"max-running\"") != std::string::npos);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("same", "same") == 0);
}

TEST_CASE("a size has bounds that the message names", "[options]") {
  std::size_t body = 0;
  OptionTable table;
  table.add_bytes("max-body", &body, 1024, 1 << 20, "bytes");
  for (const char* bad : {"0", "1023", "1025KiB", "1GiB"}) {
    INFO(bad);
    CHECK(message_of(table.set("max-body", bad)).find("--max-body") != std::string::npos);
    CHECK(message_of(table.set("max-body", bad)).find("1024 to 1048576") != std::string::npos);
  }
  CHECK(table.set("max-body", "1MiB").ok());
  CHECK(body == 1U << 20);
}

TEST_CASE("no key of a file counts twice", "[options]") {
  Options options;
  OptionTable table = table_for(options);
  for (const char* twice : {"sharing: on\nsharing: off\n", "max-running: 1\nsharing: on\nmax_running: 2\n"}) {
    const std::string message = message_of(table.parse_yaml(twice, "f.yaml"));
    CHECK(message.find("stands twice") != std::string::npos);
    CHECK(message.find("f.yaml:") != std::string::npos);
  }
}

TEST_CASE("what is no plain file of options is refused", "[options]") {
  Options options;
  OptionTable table = table_for(options);
  CHECK(table.read_yaml("/dev/zero").code() == absl::StatusCode::kInvalidArgument);
  std::string deep;
  for (int i = 0; i < 100'000; ++i) {
    deep += "[";
  }
  for (const std::string& text : {deep, "sharing: " + deep, std::string("a: &x [*x]"), std::string("? {a: b}\n: on"),
                                  std::string("%YAML 9.9\n---\n\0", 16), std::string(2000, '-')}) {
    CHECK(table.parse_yaml(text, "f.yaml").code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a flag beats the file; the file names its line", "[options]") {
  Options options;
  OptionTable table = table_for(options);
  const ScratchFile good("max_running: 12\nsharing: off\nkv-memory: 1MiB\n");
  CHECK(table.apply(good.path, {{"max-running", "99"}}).ok());
  CHECK(options.running == 99);
  CHECK_FALSE(options.sharing);
  CHECK(options.memory == 1U << 20);

  const ScratchFile unknown("sharing: on\ndevise: cpu\n");
  const std::string message = message_of(table.apply(unknown.path, {}));
  CHECK(message.find(":2:") != std::string::npos);
  CHECK(message.find("\"device\"") != std::string::npos);

  const ScratchFile broken("a: [1\n");
  CHECK_FALSE(table.apply(broken.path, {}).ok());
  const ScratchFile nested("sharing:\n  - on\n");
  CHECK_FALSE(table.apply(nested.path, {}).ok());
  const ScratchFile list("- on\n");
  CHECK_FALSE(table.apply(list.path, {}).ok());
  const ScratchFile empty("");
  CHECK(table.apply(empty.path, {}).ok());
  CHECK(table.apply("/nonexistent/coppice.yaml", {}).code() == absl::StatusCode::kNotFound);
}

TEST_CASE("a flag needs no value on a command line, and is a switch in a file") {
  bool offline = false;
  OptionTable table;
  table.add_switch("sharing", &offline, "share");
  table.add_flag("offline", &offline, "no connection");
  CHECK_FALSE(table.rows()[0].is_flag);
  CHECK(table.rows()[1].is_flag);
  CHECK(table.parse_yaml("offline: on", "file").ok());
  CHECK(offline);
  CHECK(table.set("offline", "off").ok());
  CHECK_FALSE(offline);
  CHECK_FALSE(table.set("offline", "maybe").ok());
}
