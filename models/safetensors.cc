// Checking and opening safetensors files (safetensors.h).
#include "models/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "models/json_text.h"
#include "models/limits.h"

namespace coppice::models {
namespace {

constexpr std::size_t kLengthBytes = 8;  // of the header's length, which opens the file
constexpr std::size_t kRankMost = 16;    // dimensions of a tensor; weights have one or two
// Of one read: large enough that its call costs nothing, small enough to stay in a core's cache. A multiple of every
// element.
constexpr std::size_t kReadBytes = std::size_t{1} << 20;
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

struct TypeWidth {
  std::string_view name;
  std::uint64_t bytes;
};

// Every type of the format that takes whole bytes. Weights must be F32, F16 or BF16 (weights.cc); the others may stand
// in a file as surplus that is ignored.
constexpr std::array kTypes = {
    TypeWidth{"F32", 4}, TypeWidth{"BF16", 2}, TypeWidth{"F16", 2},  TypeWidth{"F64", 8},     TypeWidth{"I64", 8},
    TypeWidth{"I32", 4}, TypeWidth{"I16", 2},  TypeWidth{"I8", 1},   TypeWidth{"U64", 8},     TypeWidth{"U32", 4},
    TypeWidth{"U16", 2}, TypeWidth{"U8", 1},   TypeWidth{"BOOL", 1}, TypeWidth{"F8_E4M3", 1}, TypeWidth{"F8_E5M2", 1}};

std::uint64_t type_bytes(std::string_view name) {
  for (const TypeWidth& type : kTypes) {
    if (type.name == name) {
      return type.bytes;
    }
  }
  return 0;
}

std::string quoted(const std::string& name) {
  return json_excerpt(nlohmann::json(name));
}

absl::Status refuse(std::string_view what, const std::string& tensor, const std::string& problem) {
  return absl::InvalidArgumentError(fmt::format("{}: tensor {}: {}", what, quoted(tensor), problem));
}

// shape product × type width, or an error when it does not fit 63 bits.
absl::StatusOr<std::uint64_t> tensor_bytes(const SafetensorsEntry& entry) {
  // Bytes: sizes and offsets are signed 64-bit elsewhere.
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = type_bytes(entry.dtype);
  // A zero anywhere makes the product zero, but the other dimensions must not overflow on the way.
  if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end()) {
    return 0;
  }
  for (const std::int64_t dimension : entry.shape) {
    const auto size = static_cast<std::uint64_t>(dimension);
    if (bytes > kMost / size) {
      return absl::InvalidArgumentError("the shape's size overflows 64 bits");
    }
    bytes *= size;
  }
  return bytes;
}

absl::StatusOr<SafetensorsEntry> parse_entry(const nlohmann::json& json) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError("must be an object with dtype, shape and data_offsets");
  }
  for (const auto& [key, value] : json.items()) {
    if (key != "dtype" && key != "shape" && key != "data_offsets") {
      return absl::InvalidArgumentError(fmt::format("has an unknown field {}", quoted(key)));
    }
  }
  const auto dtype = json.find("dtype");
  const auto shape = json.find("shape");
  const auto offsets = json.find("data_offsets");
  SafetensorsEntry entry;
  if (dtype == json.end() || !dtype->is_string() || type_bytes(dtype->get<std::string>()) == 0) {
    return absl::InvalidArgumentError(fmt::format("dtype must be a known type such as F32, BF16 or F16, got {}",
                                                  dtype == json.end() ? "nothing" : json_excerpt(*dtype)));
  }
  entry.dtype = dtype->get<std::string>();
  if (shape == json.end() || !shape->is_array() || shape->size() > kRankMost) {
    return absl::InvalidArgumentError(fmt::format("shape must be a list of at most {} sizes", kRankMost));
  }
  for (const nlohmann::json& size : *shape) {
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
      return absl::InvalidArgumentError(
          fmt::format("shape must hold whole numbers below 2^63, got {}", json_excerpt(size)));
    }
    entry.shape.push_back(size.get<std::int64_t>());
  }
  if (offsets == json.end() || !offsets->is_array() || offsets->size() != 2 || !(*offsets)[0].is_number_unsigned() ||
      !(*offsets)[1].is_number_unsigned()) {
    return absl::InvalidArgumentError("data_offsets must be two whole numbers");
  }
  entry.begin = (*offsets)[0].get<std::uint64_t>();
  entry.end = (*offsets)[1].get<std::uint64_t>();
  return entry;
}

absl::Status check_extent(const SafetensorsEntry& entry, std::uint64_t data_bytes) {
  if (entry.begin > entry.end || entry.end > data_bytes) {
    return absl::InvalidArgumentError(fmt::format(
        "data_offsets [{}, {}] must ascend and lie within the {} bytes of data", entry.begin, entry.end, data_bytes));
  }
  COPPICE_ASSIGN_OR_RETURN(const std::uint64_t bytes, tensor_bytes(entry));
  if (bytes != entry.end - entry.begin) {
    return absl::InvalidArgumentError(fmt::format("its shape and {} take {} bytes, but data_offsets [{}, {}] hold {}",
                                                  entry.dtype, bytes, entry.begin, entry.end, entry.end - entry.begin));
  }
  return absl::OkStatus();
}

absl::Status check_metadata(const nlohmann::json& metadata) {
  if (!metadata.is_object()) {
    return absl::InvalidArgumentError("__metadata__ must be an object of strings");
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(
          fmt::format("__metadata__ {} must be a string, got {}", quoted(key), json_excerpt(value)));
    }
  }
  return absl::OkStatus();
}

// The format demands that tensors tile the data: no byte unclaimed, none claimed twice.
absl::Status check_tiling(const SafetensorsHeader& entries, std::uint64_t data_bytes, std::string_view what) {
  std::vector<const SafetensorsHeader::value_type*> ordered;
  ordered.reserve(entries.size());
  for (const auto& item : entries) {
    ordered.push_back(&item);
  }
  std::sort(ordered.begin(), ordered.end(), [](const auto* left, const auto* right) {
    return std::pair(left->second.begin, left->second.end) < std::pair(right->second.begin, right->second.end);
  });
  std::uint64_t reached = 0;
  for (const auto* item : ordered) {
    if (item->second.begin != reached) {
      return refuse(what, item->first,
                    fmt::format("begins at byte {} of the data, but the tensor before it ends at {} ({})",
                                item->second.begin, reached, item->second.begin < reached ? "overlap" : "hole"));
    }
    reached = item->second.end;
  }
  if (reached != data_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: the tensors end at byte {} of the data, but the file has {}", what, reached, data_bytes));
  }
  return absl::OkStatus();
}

// Fills `into` from byte `offset` of a file on.
using ReadAt = std::function<absl::Status(std::size_t offset, std::span<std::byte> into)>;

// What the file is when it is none of this format, as far as its first bytes say. ERRORS: of `read`.
absl::StatusOr<std::string> name_other_file(const ReadAt& read, std::size_t file_bytes) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kKinds = {
      {{"GGUF", "a GGUF file, not a safetensors file"},
       {"PK\x03\x04", "a PyTorch or zip file, not a safetensors file"},
       {"\x80\x02", "a pickled PyTorch file, not a safetensors file"},
       {"<", "a page of HTML or XML, not a safetensors file: the download has failed"}}};
  std::string begin(std::min<std::size_t>(file_bytes, 64), '\0');
  COPPICE_RETURN_IF_ERROR(read(0, std::as_writable_bytes(std::span<char>(begin))));
  if (const std::string_view placeholder = base::placeholder_name(begin); !placeholder.empty()) {
    return std::string(placeholder);
  }
  for (const auto& [magic, name] : kKinds) {
    if (begin.starts_with(magic)) {
      return std::string(name);
    }
  }
  return std::string();
}

// The JSON text of the header. ERRORS: as parse_safetensors.
absl::StatusOr<std::string> read_header(const ReadAt& read, std::size_t file_bytes, std::string_view what) {
  if (file_bytes < kLengthBytes) {
    return absl::InvalidArgumentError(fmt::format("{}: {} bytes are too few for a safetensors file", what, file_bytes));
  }
  std::array<std::byte, kLengthBytes> length_bytes{};
  COPPICE_RETURN_IF_ERROR(read(0, length_bytes));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<std::uint64_t>(length_bytes[i]) << (8 * i);
  }
  if (length > file_bytes - kLengthBytes || length > kHeaderBytesMost) {
    COPPICE_ASSIGN_OR_RETURN(const std::string other, name_other_file(read, file_bytes));
    return absl::InvalidArgumentError(
        other.empty() ? fmt::format("{}: not a safetensors file, or a damaged one: its header would have {} bytes, the "
                                    "file has {}",
                                    what, length, file_bytes)
                      : fmt::format("{}: is {}", what, other));
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  COPPICE_RETURN_IF_ERROR(read(kLengthBytes, std::as_writable_bytes(std::span<char>(text))));
  if (!text.starts_with('{')) {
    return absl::InvalidArgumentError(fmt::format("{}: the header must begin with {{", what));
  }
  return text;
}

absl::StatusOr<ParsedSafetensors> parse(const ReadAt& read, std::size_t file_bytes, std::string_view what) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, read_header(read, file_bytes, what));
  COPPICE_ASSIGN_OR_RETURN(
      const nlohmann::json json,
      parse_json(text, what, {.bytes = kHeaderBytesMost, .depth = 4, .allow_duplicate_names = false}));
  if (json.size() > kTensorsMost) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} tensors, at most {} are read", what, json.size(), kTensorsMost));
  }
  ParsedSafetensors parsed;
  parsed.data_begin = kLengthBytes + text.size();
  const std::uint64_t data_bytes = file_bytes - parsed.data_begin;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (const absl::Status status = check_metadata(value); !status.ok()) {
        return absl::InvalidArgumentError(fmt::format("{}: {}", what, std::string(status.message())));
      }
      continue;
    }
    absl::StatusOr<SafetensorsEntry> entry = parse_entry(value);
    const absl::Status status = entry.ok() ? check_extent(*entry, data_bytes) : entry.status();
    if (!status.ok()) {
      return refuse(what, name, std::string(status.message()));
    }
    parsed.entries.emplace(name, *std::move(entry));
  }
  COPPICE_RETURN_IF_ERROR(check_tiling(parsed.entries, data_bytes, what));
  return parsed;
}

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\\') == std::string::npos && name.find('\0') == std::string::npos;
}

}  // namespace

absl::StatusOr<ParsedSafetensors> parse_safetensors(const base::RegularFile& file, std::string_view what) {
  return parse([&file](std::size_t offset, std::span<std::byte> into) { return file.read(offset, into); }, file.size(),
               what);
}

absl::StatusOr<ParsedSafetensors> parse_safetensors(std::span<const std::byte> file, std::string_view what) {
  const auto copy = [file](std::size_t offset, std::span<std::byte> into) {
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return absl::OkStatus();
  };
  return parse(copy, file.size(), what);
}

absl::Status SafetensorsFolder::Tensor::read(std::span<std::byte> into, const Inspect& inspect) const {
  const auto chunks = static_cast<std::int64_t>((into.size() + kReadBytes - 1) / kReadBytes);
  std::vector<absl::Status> statuses(static_cast<std::size_t>(chunks));
#pragma omp parallel for schedule(dynamic) if (chunks > 1)
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::size_t begin = static_cast<std::size_t>(chunk) * kReadBytes;
    const std::size_t count = std::min(kReadBytes, into.size() - begin);
    absl::Status& status = statuses[static_cast<std::size_t>(chunk)];
    status = file->read(offset + begin, into.subspan(begin, count));
    if (status.ok() && inspect) {
      status = inspect(into.subspan(begin, count));
    }
  }
  for (absl::Status& status : statuses) {
    COPPICE_RETURN_IF_ERROR(std::move(status));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> parse_safetensors_index(std::string_view text,
                                                                           std::string_view what) {
  COPPICE_ASSIGN_OR_RETURN(
      const nlohmann::json json,
      parse_json(text, what, {.bytes = kIndexBytesMost, .depth = 16, .allow_duplicate_names = false}));
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: weight_map must be an object: tensor to file name", what));
  }
  std::map<std::string, std::string> index;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get<std::string>())) {
      return refuse(what, tensor, fmt::format("must be in a file of the same folder, got {}", json_excerpt(file)));
    }
    index.emplace(tensor, file.get<std::string>());
  }
  return index;
}

absl::Status SafetensorsFolder::add_shard(const std::filesystem::path& path) {
  COPPICE_ASSIGN_OR_RETURN(base::RegularFile file, base::RegularFile::open(path));
  COPPICE_ASSIGN_OR_RETURN(ParsedSafetensors parsed, parse_safetensors(file, path.string()));
  shards_.push_back(std::make_unique<Shard>(Shard{std::move(file), std::move(parsed)}));
  const Shard& shard = *shards_.back();
  for (const auto& [name, entry] : shard.parsed.entries) {
    const Tensor tensor = {.entry = &entry,
                           .file = &shard.file,
                           .offset = shard.parsed.data_begin + static_cast<std::size_t>(entry.begin)};
    if (!tensors_.emplace(name, tensor).second) {
      return refuse(path.string(), name, fmt::format("is also in {}", shard_of_.find(name)->second));
    }
    shard_of_.emplace(name, path.filename().string());
  }
  return absl::OkStatus();
}

absl::Status SafetensorsFolder::check_index(const std::map<std::string, std::string>& index,
                                            const std::string& what) const {
  for (const auto& [name, file] : index) {
    const auto found = shard_of_.find(name);
    if (found == shard_of_.end() || found->second != file) {
      return refuse(what, name,
                    fmt::format("said to be in {}, but found in {}", file,
                                found == shard_of_.end() ? "no shard" : found->second));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::open(const std::filesystem::path& folder) {
  SafetensorsFolder opened;
  // The single file first, as transformers has it.
  const absl::Status single = opened.add_shard(folder / kSingleFile);
  if (single.ok()) {
    return opened;
  }
  if (!absl::IsNotFound(single)) {
    return single;
  }
  const std::filesystem::path index_path = folder / kIndexFile;
  const absl::StatusOr<std::string> text = base::read_file(index_path, kIndexBytesMost);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(fmt::format("{}: neither {} nor {} is there", folder.string(), kSingleFile, kIndexFile));
  }
  COPPICE_RETURN_IF_ERROR(text.status());
  COPPICE_ASSIGN_OR_RETURN(const auto index, parse_safetensors_index(*text, index_path.string()));
  std::set<std::string> files;
  for (const auto& [tensor, file] : index) {
    files.insert(file);
  }
  if (files.size() > kShardsMost) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} files, at most {} are opened", index_path.string(), files.size(), kShardsMost));
  }
  for (const std::string& file : files) {
    COPPICE_RETURN_IF_ERROR(opened.add_shard(folder / file));
  }
  COPPICE_RETURN_IF_ERROR(opened.check_index(index, index_path.string()));
  return opened;
}

}  // namespace coppice::models
