// OptionTable: the named settings of a command, each with a type, bounds and one sentence of help. A flag and its YAML
// twin are the same row, so they cannot drift; a flag beats the file; an unknown key is an error that names the nearest
// one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace YAML {
class Node;
}

namespace coppice::server {

// Owner: one command's start-up code. Thread: one. Targets must outlive the table.
class OptionTable {
 public:
  // The rows added from now on stand under this title in the command's help.
  void begin_group(std::string title) { group_ = std::move(title); }
  void add_text(std::string name, std::string* target, std::string help, std::vector<std::string> choices = {});
  void add_integer(std::string name, std::int64_t* target, std::int64_t least, std::int64_t most, std::string help);
  void add_integer(std::string name, std::int32_t* target, std::int32_t least, std::int32_t most, std::string help);
  void add_number(std::string name, double* target, double least, double most, std::string help);
  // Stay unset unless the option is given. `name` may have underscores.
  void add_choice(std::string_view name, std::optional<double>* target, double least, double most, std::string help);
  void add_choice(std::string_view name, std::optional<std::int64_t>* target, double least, double most,
                  std::string help);
  void add_switch(std::string name, bool* target, std::string help);  // on | off
  // The same, where the bare name on a command line means on.
  void add_flag(std::string name, bool* target, std::string help);
  void add_bytes(std::string name, std::size_t* target, std::string help) {  // 512MiB, 4GiB, 1073741824
    add_bytes(std::move(name), target, 0, kBytesMost, std::move(help));
  }
  void add_bytes(std::string name, std::size_t* target, std::size_t least, std::size_t most, std::string help);
  void add_seed(std::string name, std::uint64_t* target, bool* given, std::string help);

  struct Row {
    std::string name;  // "max-running": the flag is --max-running, the YAML key max-running (max_running is accepted)
    std::string kind;  // for the help: TEXT, N, on|off, BYTES
    std::string help;
    std::function<absl::Status(std::string_view)> set;
    std::string group = {};  // title in the help; "" = the first
    bool is_flag = false;    // needs no value on a command line
  };
  const std::vector<Row>& rows() const { return rows_; }

  // Sets one option from text. ERRORS: InvalidArgument saying name, what came, what is allowed.
  absl::Status set(std::string_view name, std::string_view value);
  // Reads a YAML mapping of option names to values. ERRORS: NotFound; InvalidArgument with file and line: what is no
  // such mapping, a name that stands twice, a bad value.
  absl::Status read_yaml(const std::filesystem::path& path);
  // The same from the file's text; `path` names it in messages.
  absl::Status parse_yaml(const std::string& text, const std::string& path);
  // The file first (when `config` is not empty), then the flags given on the command line.
  absl::Status apply(const std::string& config, const std::map<std::string, std::string>& flags);

 private:
  static constexpr std::size_t kBytesMost = std::size_t{1} << 50;  // 1 PiB: sums of sizes do not overflow

  void add(Row row) {
    row.group = group_;
    rows_.push_back(std::move(row));
  }
  absl::Status set_all(const YAML::Node& root, const std::string& path);
  const Row* find(std::string_view name) const;
  std::string nearest(std::string_view name) const;

  std::vector<Row> rows_;
  std::string group_;  // of the rows to come
};

// Number of single-character edits between two words; for "did you mean".
std::size_t edit_distance(std::string_view left, std::string_view right);

}  // namespace coppice::server
