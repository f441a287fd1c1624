// The safetensors format (https://github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header naming each tensor's type, shape and place, then the data. Every field is checked against the file before a
// byte of data is used. A model is one file, or several with a model.safetensors.index.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace coppice::models {

// A tensor as the header describes it. `begin` and `end` are byte offsets in the data part.
struct SafetensorsEntry {
  std::string dtype;  // "F32", "BF16", "I64", … as written
  std::vector<std::int64_t> shape;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

// Name -> entry, of one file.
using SafetensorsHeader = std::map<std::string, SafetensorsEntry, std::less<>>;

struct ParsedSafetensors {
  SafetensorsHeader entries;
  std::size_t data_begin = 0;  // byte offset of the data part in the file
};

// Checks the header of a file. `what` names the file in messages.
// ENSURES: for every entry begin <= end <= data size, the length fits shape and type; entries tile the data part
// without holes or overlaps. ERRORS: InvalidArgument naming the tensor, what was expected and what was found.
absl::StatusOr<ParsedSafetensors> parse_safetensors(const base::RegularFile& file, std::string_view what);
// The same of a file's bytes.
absl::StatusOr<ParsedSafetensors> parse_safetensors(std::span<const std::byte> file, std::string_view what);

// Reads model.safetensors.index.json's weight_map: tensor name -> file name. File names are plain names inside the
// folder: no folders, no "..". ERRORS: InvalidArgument.
absl::StatusOr<std::map<std::string, std::string>> parse_safetensors_index(std::string_view text,
                                                                           std::string_view what);

// All tensors of a model folder. Immutable; owner: the weight source. Data is read, not mapped: a mapped file that
// shrinks would end the process at the next touch.
class SafetensorsFolder {
 public:
  struct Tensor {
    const SafetensorsEntry* entry = nullptr;
    const base::RegularFile* file = nullptr;
    std::size_t offset = 0;  // of its data in the file

    std::size_t bytes() const { return static_cast<std::size_t>(entry->end - entry->begin); }
    // Looks at a part of the data, on any thread, while it is still in the core's cache. Parts hold whole elements.
    using Inspect = std::function<absl::Status(std::span<const std::byte>)>;
    // Reads the data, on all cores. REQUIRES: into.size() == bytes(). ERRORS: DataLoss when the file has shrunk;
    // Internal; those of `inspect`.
    absl::Status read(std::span<std::byte> into, const Inspect& inspect = {}) const;
  };

  // Opens FOLDER/model.safetensors, or the shards that FOLDER/model.safetensors.index.json names.
  // ERRORS: NotFound: neither is there, or a shard is missing; InvalidArgument: as parse_safetensors; a tensor that
  // the index and its shard do not agree about.
  static absl::StatusOr<SafetensorsFolder> open(const std::filesystem::path& folder);

  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

 private:
  struct Shard {
    base::RegularFile file;
    ParsedSafetensors parsed;
  };

  absl::Status add_shard(const std::filesystem::path& path);
  absl::Status check_index(const std::map<std::string, std::string>& index, const std::string& what) const;

  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> shard_of_;  // tensor -> file name
};

}  // namespace coppice::models
