// The GGUF format, versions 2 and 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): a header of keys with
// typed values and of tensors with type, shape and place, then the data. Every count, length and offset is checked in
// 64 bits against the file before anything is allocated for it. A model is one file, or several named
// NAME-00001-of-00003.gguf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"

namespace coppice::models {

// A tensor's element type. A row is cut into blocks of `block` numbers, which take `bytes`.
struct GgufType {
  std::string_view name;  // "Q4_K", as llama.cpp has it
  std::uint32_t id = 0;   // in files
  std::uint32_t block = 1;
  std::uint32_t bytes = 0;
};

// Null for an id that no release of llama.cpp has written.
const GgufType* find_gguf_type(std::uint32_t id);

// A value of a key. Whole numbers of every width are int64; true and false in arrays are whole numbers.
using GgufValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>,
                               std::vector<std::string>>;
using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

// A tensor as the header describes it.
struct GgufEntry {
  const GgufType* type = nullptr;
  std::vector<std::int64_t> shape;  // columns last, as everywhere here; the file has them first
  std::uint64_t begin = 0;          // byte offset in the data part
  std::uint64_t bytes = 0;
};

struct ParsedGguf {
  GgufMetadata metadata;
  std::map<std::string, GgufEntry, std::less<>> entries;
  std::uint64_t data_begin = 0;  // byte offset of the data part in the file
};

// Checks the header of a file. `what` names the file in messages.
// ENSURES: every entry lies inside the file; its length fits shape and type; no two overlap. ERRORS: InvalidArgument
// naming the key or the tensor, what was expected and what was found; Unimplemented for version 1 and for files of
// machines with the other order of bytes.
absl::StatusOr<ParsedGguf> parse_gguf(const base::RegularFile& file, std::string_view what);
// The same of a file's bytes.
absl::StatusOr<ParsedGguf> parse_gguf(std::span<const std::byte> file, std::string_view what);

// All tensors of a model in GGUF. Immutable; owner: the model's package. Data is read, not mapped, as of safetensors.
class GgufModel {
 public:
  struct Tensor {
    const GgufEntry* entry = nullptr;
    const base::RegularFile* file = nullptr;
    std::uint64_t offset = 0;  // of its data in the file
  };

  // Opens the file, and the others of its model if it is one of several. ERRORS: NotFound naming the missing file; as
  // parse_gguf; InvalidArgument when the files do not belong together.
  static absl::StatusOr<GgufModel> open(const std::filesystem::path& path);

  // Of the first file.
  const std::filesystem::path& path() const { return parts_.front()->file.path(); }
  // Of the first file: the others hold tensors.
  const GgufMetadata& metadata() const { return parts_.front()->parsed.metadata; }
  const std::map<std::string, Tensor, std::less<>>& tensors() const { return tensors_; }

 private:
  struct Part {
    base::RegularFile file;
    ParsedGguf parsed;
  };

  absl::Status add_part(const std::filesystem::path& path);
  absl::Status check_part(std::int64_t number, std::int64_t count) const;

  std::vector<std::unique_ptr<Part>> parts_;
  std::map<std::string, Tensor, std::less<>> tensors_;
};

// The value of `key` as T: bool, std::int64_t, double (a whole number is one too), std::string or a vector of them.
// Null where the key is not there. ERRORS: InvalidArgument naming the key where it has another type.
template <typename T>
absl::StatusOr<std::optional<T>> gguf_value(const GgufMetadata& metadata, std::string_view key);

}  // namespace coppice::models
