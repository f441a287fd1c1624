// Checking and opening GGUF files (gguf.h).
#include "models/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "models/gguf_reader.h"
#include "models/json_text.h"
#include "models/limits.h"

namespace coppice::models {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;                    // "GGUF"
constexpr std::uint64_t kKeysMost = 1 << 16;                    // models have some 40
constexpr std::uint64_t kKeyBytesMost = (1 << 16) - 1;          // the format's own
constexpr std::uint64_t kTensorNameBytesMost = 1024;            // the format: 64
constexpr std::uint32_t kRankMost = 4;                          // the format's own
constexpr std::int64_t kAlignmentDefault = 32;                  // bytes, the format's own
constexpr std::int64_t kAlignmentMost = std::int64_t{1} << 20;  // bytes; no program writes more than 4096
constexpr const char* kAlignmentKey = "general.alignment";
constexpr const char* kPartKey = "split.no";
constexpr const char* kPartsKey = "split.count";
constexpr const char* kTensorsKey = "split.tensors.count";

// Types of ggml.h that whole files of weights have had; blocks and bytes from ggml-common.h.
constexpr std::array kTypes = {
    GgufType{"F32", 0, 1, 4},         GgufType{"F16", 1, 1, 2},         GgufType{"Q4_0", 2, 32, 18},
    GgufType{"Q4_1", 3, 32, 20},      GgufType{"Q5_0", 6, 32, 22},      GgufType{"Q5_1", 7, 32, 24},
    GgufType{"Q8_0", 8, 32, 34},      GgufType{"Q8_1", 9, 32, 36},      GgufType{"Q2_K", 10, 256, 84},
    GgufType{"Q3_K", 11, 256, 110},   GgufType{"Q4_K", 12, 256, 144},   GgufType{"Q5_K", 13, 256, 176},
    GgufType{"Q6_K", 14, 256, 210},   GgufType{"Q8_K", 15, 256, 292},   GgufType{"IQ2_XXS", 16, 256, 66},
    GgufType{"IQ2_XS", 17, 256, 74},  GgufType{"IQ3_XXS", 18, 256, 98}, GgufType{"IQ1_S", 19, 256, 50},
    GgufType{"IQ4_NL", 20, 32, 18},   GgufType{"IQ3_S", 21, 256, 110},  GgufType{"IQ2_S", 22, 256, 82},
    GgufType{"IQ4_XS", 23, 256, 136}, GgufType{"I8", 24, 1, 1},         GgufType{"I16", 25, 1, 2},
    GgufType{"I32", 26, 1, 4},        GgufType{"I64", 27, 1, 8},        GgufType{"F64", 28, 1, 8},
    GgufType{"IQ1_M", 29, 256, 56},   GgufType{"BF16", 30, 1, 2},       GgufType{"TQ1_0", 34, 256, 54},
    GgufType{"TQ2_0", 35, 256, 66},   GgufType{"MXFP4", 39, 32, 17}};

std::string in_quotes(const std::string& name) {
  return json_excerpt(nlohmann::json(name));
}

// The same error behind the name of what it is about.
absl::Status about(const std::string& subject, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", subject, std::string(status.message())));
}

absl::Status check_version(GgufReader& reader) {
  if (reader.left() < sizeof kMagic) {
    return absl::InvalidArgumentError(fmt::format("{} bytes are too few for a GGUF file", reader.left()));
  }
  COPPICE_ASSIGN_OR_RETURN(const auto magic, reader.number<std::uint32_t>());
  if (magic != kMagic) {
    return absl::InvalidArgumentError("not a GGUF file: it does not begin with GGUF");
  }
  COPPICE_ASSIGN_OR_RETURN(const auto version, reader.number<std::uint32_t>());
  constexpr std::uint32_t kLowBytes = 0xFFFF;  // of a version; empty when the bytes are in the other order
  if ((version & kLowBytes) == 0 && version != 0) {
    return absl::UnimplementedError("a GGUF file of a big-endian machine; convert it to little-endian");
  }
  if (version == 1) {
    return absl::UnimplementedError("GGUF version 1, which no program writes since 2023; convert it to version 3");
  }
  if (version != 2 && version != 3) {
    return absl::UnimplementedError(fmt::format("GGUF version {}; 2 and 3 are read", version));
  }
  return absl::OkStatus();
}

absl::Status read_metadata(GgufReader& reader, std::uint64_t count, GgufMetadata& metadata) {
  for (std::uint64_t i = 0; i < count; ++i) {
    absl::StatusOr<std::string> key = reader.text(kKeyBytesMost);
    if (!key.ok()) {
      return about(fmt::format("key {} of {}", i + 1, count), key.status());
    }
    absl::StatusOr<GgufValue> value = reader.value();
    if (!value.ok()) {
      return about(fmt::format("key {}", in_quotes(*key)), value.status());
    }
    if (!metadata.emplace(*key, *std::move(value)).second) {
      return absl::InvalidArgumentError(fmt::format("key {} comes twice", in_quotes(*key)));
    }
  }
  return absl::OkStatus();
}

// Type, shape and length.
absl::StatusOr<GgufEntry> read_entry(GgufReader& reader) {
  COPPICE_ASSIGN_OR_RETURN(const auto rank, reader.number<std::uint32_t>());
  if (rank == 0 || rank > kRankMost) {
    return absl::InvalidArgumentError(fmt::format("has {} dimensions, 1 to {} are allowed", rank, kRankMost));
  }
  GgufEntry entry;
  // Bytes: sizes and offsets are signed 64-bit elsewhere.
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < rank; ++i) {
    COPPICE_ASSIGN_OR_RETURN(const auto size, reader.number<std::uint64_t>());
    if (size == 0 || elements > kMost / size) {
      return absl::InvalidArgumentError("the shape has a dimension of 0, or more than 2^63 elements");
    }
    elements *= size;
    entry.shape.insert(entry.shape.begin(), static_cast<std::int64_t>(size));
  }
  COPPICE_ASSIGN_OR_RETURN(const auto id, reader.number<std::uint32_t>());
  entry.type = find_gguf_type(id);
  if (entry.type == nullptr) {
    return absl::InvalidArgumentError(fmt::format("has type {}, which is not known", id));
  }
  if (entry.shape.back() % entry.type->block != 0) {
    return absl::InvalidArgumentError(fmt::format("rows of {} numbers are no whole blocks of {}, as {} has them",
                                                  entry.shape.back(), entry.type->block, entry.type->name));
  }
  const std::uint64_t blocks = elements / entry.type->block;
  if (blocks > kMost / entry.type->bytes) {
    return absl::InvalidArgumentError("its size overflows 64 bits");
  }
  entry.bytes = blocks * entry.type->bytes;
  COPPICE_ASSIGN_OR_RETURN(entry.begin, reader.number<std::uint64_t>());
  return entry;
}

absl::Status read_entries(GgufReader& reader, std::uint64_t count, ParsedGguf& parsed) {
  for (std::uint64_t i = 0; i < count; ++i) {
    absl::StatusOr<std::string> name = reader.text(kTensorNameBytesMost);
    if (!name.ok()) {
      return about(fmt::format("tensor {} of {}", i + 1, count), name.status());
    }
    absl::StatusOr<GgufEntry> entry = read_entry(reader);
    if (!entry.ok()) {
      return about(fmt::format("tensor {}", in_quotes(*name)), entry.status());
    }
    if (!parsed.entries.emplace(*name, *std::move(entry)).second) {
      return absl::InvalidArgumentError(fmt::format("tensor {} comes twice", in_quotes(*name)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::uint64_t> alignment_of(const GgufMetadata& metadata) {
  COPPICE_ASSIGN_OR_RETURN(const auto found, gguf_value<std::int64_t>(metadata, kAlignmentKey));
  const std::int64_t alignment = found.value_or(kAlignmentDefault);
  if (alignment <= 0 || alignment > kAlignmentMost || !std::has_single_bit(static_cast<std::uint64_t>(alignment))) {
    return absl::InvalidArgumentError(
        fmt::format("key \"{}\": {} is no power of two up to {}", kAlignmentKey, alignment, kAlignmentMost));
  }
  return static_cast<std::uint64_t>(alignment);
}

// Entries lie inside the data, at multiples of the alignment, and none over another.
absl::Status check_places(const ParsedGguf& parsed, std::uint64_t data_bytes, std::uint64_t alignment) {
  std::vector<std::pair<std::uint64_t, const std::string*>> places;
  places.reserve(parsed.entries.size());
  for (const auto& [name, entry] : parsed.entries) {
    if (entry.begin % alignment != 0 || entry.begin > data_bytes || entry.bytes > data_bytes - entry.begin) {
      return absl::InvalidArgumentError(
          fmt::format("tensor {}: {} bytes from byte {} of the data, which has {}, at multiples of {}: the file is cut "
                      "short or damaged",
                      in_quotes(name), entry.bytes, entry.begin, data_bytes, alignment));
    }
    places.emplace_back(entry.begin, &name);
  }
  std::sort(places.begin(), places.end());
  for (std::size_t i = 1; i < places.size(); ++i) {
    const auto& before = *parsed.entries.find(*places[i - 1].second);
    if (before.second.begin + before.second.bytes > places[i].first) {
      return absl::InvalidArgumentError(
          fmt::format("tensors {} and {} overlap", in_quotes(before.first), in_quotes(*places[i].second)));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ParsedGguf> parse(GgufReader reader, std::uint64_t file_bytes) {
  COPPICE_RETURN_IF_ERROR(check_version(reader));
  COPPICE_ASSIGN_OR_RETURN(const auto tensors, reader.number<std::uint64_t>());
  COPPICE_ASSIGN_OR_RETURN(const auto keys, reader.number<std::uint64_t>());
  if (tensors > kTensorsMost || keys > kKeysMost) {
    return absl::InvalidArgumentError(
        fmt::format("{} tensors and {} keys; at most {} and {} are read", tensors, keys, kTensorsMost, kKeysMost));
  }
  ParsedGguf parsed;
  COPPICE_RETURN_IF_ERROR(read_metadata(reader, keys, parsed.metadata));
  COPPICE_RETURN_IF_ERROR(read_entries(reader, tensors, parsed));
  COPPICE_ASSIGN_OR_RETURN(const std::uint64_t alignment, alignment_of(parsed.metadata));
  // At the file's end for a file of keys alone, whose end is not padded.
  parsed.data_begin = std::min(file_bytes, (reader.at() + alignment - 1) / alignment * alignment);
  COPPICE_RETURN_IF_ERROR(check_places(parsed, file_bytes - parsed.data_begin, alignment));
  return parsed;
}

absl::StatusOr<ParsedGguf> parse_named(GgufReader reader, std::uint64_t file_bytes, std::string_view what) {
  absl::StatusOr<ParsedGguf> parsed = parse(std::move(reader), file_bytes);
  return parsed.ok() ? std::move(parsed) : about(std::string(what), parsed.status());
}

// A part's name, cut: "NAME-00002-of-00003.gguf". Nothing where it is no such name.
struct PartName {
  std::string stem;
  std::int64_t number = 0;
  std::int64_t count = 0;
};
std::optional<PartName> read_part_name(const std::string& name) {
  constexpr std::size_t kDigits = 5;                            // of each number, as llama.cpp writes them
  constexpr std::size_t kTail = 1 + kDigits + 4 + kDigits + 5;  // "-00002-of-00003.gguf"
  if (name.size() <= kTail) {
    return std::nullopt;
  }
  const std::string tail = name.substr(name.size() - kTail);
  if (tail[0] != '-' || tail.substr(6, 4) != "-of-" || tail.substr(15) != ".gguf") {
    return std::nullopt;
  }
  PartName part{.stem = name.substr(0, name.size() - kTail)};
  for (const std::size_t begin : {std::size_t{1}, std::size_t{10}}) {
    std::int64_t& number = begin == 1 ? part.number : part.count;
    for (const char c : tail.substr(begin, kDigits)) {
      if (c < '0' || c > '9') {
        return std::nullopt;
      }
      number = number * 10 + (c - '0');
    }
  }
  return part;
}

template <typename T>
constexpr const char* kKindOf = "a text";
template <>
constexpr const char* kKindOf<bool> = "true or false";
template <>
constexpr const char* kKindOf<std::int64_t> = "a whole number";
template <>
constexpr const char* kKindOf<double> = "a number";
template <>
constexpr const char* kKindOf<std::vector<std::int64_t>> = "an array of whole numbers";
template <>
constexpr const char* kKindOf<std::vector<double>> = "an array of numbers";
template <>
constexpr const char* kKindOf<std::vector<std::string>> = "an array of texts";

}  // namespace

const GgufType* find_gguf_type(std::uint32_t id) {
  const auto* const found =
      std::find_if(kTypes.begin(), kTypes.end(), [id](const GgufType& type) { return type.id == id; });
  return found == kTypes.end() ? nullptr : found;
}

template <typename T>
absl::StatusOr<std::optional<T>> gguf_value(const GgufMetadata& metadata, std::string_view key) {
  const auto found = metadata.find(key);
  if (found == metadata.end()) {
    return std::optional<T>();
  }
  if (const T* const value = std::get_if<T>(&found->second)) {
    return std::optional<T>(*value);
  }
  if constexpr (std::is_same_v<T, double>) {
    if (const auto* const whole = std::get_if<std::int64_t>(&found->second)) {
      return std::optional<T>(static_cast<double>(*whole));
    }
  }
  return absl::InvalidArgumentError(fmt::format("key \"{}\": expected {}", key, kKindOf<T>));
}

template absl::StatusOr<std::optional<bool>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<std::int64_t>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<double>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<std::string>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<std::vector<std::int64_t>>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<std::vector<double>>> gguf_value(const GgufMetadata&, std::string_view);
template absl::StatusOr<std::optional<std::vector<std::string>>> gguf_value(const GgufMetadata&, std::string_view);

absl::StatusOr<ParsedGguf> parse_gguf(const base::RegularFile& file, std::string_view what) {
  const auto read = [&file](std::uint64_t offset, std::span<std::byte> into) {
    return file.read(static_cast<std::size_t>(offset), into);
  };
  return parse_named(GgufReader(read, file.size()), file.size(), what);
}

absl::StatusOr<ParsedGguf> parse_gguf(std::span<const std::byte> file, std::string_view what) {
  const auto copy = [file](std::uint64_t offset, std::span<std::byte> into) {
    std::copy_n(file.begin() + static_cast<std::ptrdiff_t>(offset), into.size(), into.begin());
    return absl::OkStatus();
  };
  return parse_named(GgufReader(copy, file.size()), file.size(), what);
}

absl::Status GgufModel::add_part(const std::filesystem::path& path) {
  COPPICE_ASSIGN_OR_RETURN(base::RegularFile file, base::RegularFile::open(path));
  COPPICE_ASSIGN_OR_RETURN(ParsedGguf parsed, parse_gguf(file, path.string()));
  parts_.push_back(std::make_unique<Part>(Part{std::move(file), std::move(parsed)}));
  const Part& part = *parts_.back();
  for (const auto& [name, entry] : part.parsed.entries) {
    const Tensor tensor = {.entry = &entry, .file = &part.file, .offset = part.parsed.data_begin + entry.begin};
    if (!tensors_.emplace(name, tensor).second) {
      return absl::InvalidArgumentError(
          fmt::format("{}: tensor {} is also in another file of the model", path.string(), in_quotes(name)));
    }
  }
  return absl::OkStatus();
}

absl::Status GgufModel::check_part(std::int64_t number, std::int64_t count) const {
  const Part& part = *parts_.back();
  COPPICE_ASSIGN_OR_RETURN(const auto said, gguf_value<std::int64_t>(part.parsed.metadata, kPartKey));
  COPPICE_ASSIGN_OR_RETURN(const auto parts, gguf_value<std::int64_t>(part.parsed.metadata, kPartsKey));
  if (said.value_or(0) != number || parts.value_or(1) != count) {
    return absl::InvalidArgumentError(fmt::format("{}: says that it is part {} of {}, expected {} of {}",
                                                  part.file.path().string(), said.value_or(0) + 1, parts.value_or(1),
                                                  number + 1, count));
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufModel> GgufModel::open(const std::filesystem::path& path) {
  GgufModel model;
  const std::optional<PartName> name = read_part_name(path.filename().string());
  const std::int64_t count = name ? name->count : 1;
  if (name && (name->number < 1 || name->number > count || count > static_cast<std::int64_t>(kShardsMost))) {
    return absl::InvalidArgumentError(
        fmt::format("{}: part {} of {}; at most {} parts are opened", path.string(), name->number, count, kShardsMost));
  }
  for (std::int64_t number = 0; number < count; ++number) {
    const std::filesystem::path part =
        name ? path.parent_path() / fmt::format("{}-{:05}-of-{:05}.gguf", name->stem, number + 1, count) : path;
    COPPICE_RETURN_IF_ERROR(model.add_part(part));
    COPPICE_RETURN_IF_ERROR(model.check_part(number, count));
  }
  COPPICE_ASSIGN_OR_RETURN(const auto tensors, gguf_value<std::int64_t>(model.metadata(), kTensorsKey));
  const auto found = static_cast<std::int64_t>(model.tensors_.size());
  if (tensors.value_or(found) != found) {
    return absl::InvalidArgumentError(
        fmt::format("{}: the files have {} tensors, {} were expected", path.string(), found, *tensors));
  }
  return model;
}

}  // namespace coppice::models
