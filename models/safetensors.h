// The safetensors format (https://github.com/huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header naming each tensor's type, shape and place, then the data. Every field is checked against the file before a
// byte of data is used. A model is one file, or several with a model.safetensors.index.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/mapped_file.h"

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

// Checks a whole file's bytes. `what` names the file in messages. Nothing but the header is read.
// ENSURES: for every entry begin <= end <= data size, the length fits shape and type; entries tile the data part
// without holes or overlaps. ERRORS: InvalidArgument naming the tensor, what was expected and what was found.
absl::StatusOr<ParsedSafetensors> parse_safetensors(std::span<const std::byte> file, std::string_view what);

// Reads model.safetensors.index.json's weight_map: tensor name -> file name. File names are plain names inside the
// folder: no folders, no "..". ERRORS: InvalidArgument.
absl::StatusOr<std::map<std::string, std::string>> parse_safetensors_index(std::string_view text,
                                                                           std::string_view what);

// All tensors of a model folder, mapped. Immutable; owner: the weight source.
class SafetensorsFolder {
 public:
  struct Tensor {
    const SafetensorsEntry* entry = nullptr;
    const MappedFile* file = nullptr;
    std::span<const std::byte> data;  // not aligned
  };

  // Opens FOLDER/model.safetensors, or the shards that FOLDER/model.safetensors.index.json names.
  // ERRORS: NotFound: neither is there, or a shard is missing; InvalidArgument: as parse_safetensors; a tensor that
  // the index and its shard do not agree about.
  static absl::StatusOr<SafetensorsFolder> open(const std::filesystem::path& folder);

  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

 private:
  struct Shard {
    MappedFile file;
    ParsedSafetensors parsed;
  };

  absl::Status add_shard(const std::filesystem::path& path);
  absl::Status check_index(const std::map<std::string, std::string>& index, const std::string& what) const;

  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> shard_of_;  // tensor -> file name
};

}  // namespace coppice::models
