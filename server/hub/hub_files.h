// Which files of a repository a model needs: the weights, tokenizer, templates and settings that ModelPackage reads, or
// the one GGUF model that is asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/hub/hub_name.h"

namespace coppice::server {

struct HubFiles {
  // In the order in which they become visible: what is optional first, so that a folder in which the last of them is
  // found has all of them.
  std::vector<std::string> names;
  std::string gguf;   // the file to open; "" = the folder is
  std::string index;  // names files of weights that are needed too; "" = none
};

// `all`: the names of the repository's files. ERRORS: NotFound saying what is there instead, and how to ask for it.
absl::StatusOr<HubFiles> choose_files(const std::vector<std::string>& all, const HubName& name);

// The files that make a repository one with a model in Hugging Face's own layout: some of these three.
std::vector<std::string> folder_files();
// Whether a repository that has the files for which `has` says so is such a one. Asked of folder_files() alone.
bool may_have_folder(const std::function<bool(const std::string&)>& has);

// The most that a file of that name may have, in bytes: what its reader takes, and for weights what there is.
std::uint64_t file_bytes_most(const std::string& name);

// The files of weights that a model.safetensors.index.json names, sorted. ERRORS: InvalidArgument.
absl::StatusOr<std::vector<std::string>> read_index(std::string_view json);

// Puts the files of weights of an index in their place among the names.
void add_shards(const std::vector<std::string>& shards, HubFiles& files);

}  // namespace coppice::server
