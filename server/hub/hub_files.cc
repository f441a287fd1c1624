// Names of files, and what they say.
#include "server/hub/hub_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <set>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "models/json_text.h"
#include "models/limits.h"
#include "text/tokenizer/json_access.h"

namespace coppice::server {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kWeightsFile = "model.safetensors";
constexpr std::size_t kShownMost = 24;  // names in a message

// What is read beside the weights and config.json where it is there.
constexpr std::array<std::string_view, 11> kOptional = {"generation_config.json",
                                                        "special_tokens_map.json",
                                                        "added_tokens.json",
                                                        "chat_template.json",
                                                        "chat_template.jinja",
                                                        "1_Pooling/config.json",
                                                        "tokenizer_config.json",
                                                        "vocab.json",
                                                        "merges.txt",
                                                        "tokenizer.model",
                                                        "tokenizer.json"};
constexpr std::string_view kTemplateFolder = "additional_chat_templates/";
constexpr std::size_t kTemplatesMost = 64;  // of a repository: several times what any has; each is a request

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

// A GGUF model: one file, or those of NAME-00001-of-00003.gguf.
struct GgufModelFiles {
  std::size_t parts = 1;
  std::vector<std::string> names;
};

// "NAME-00002-of-00003.gguf" -> NAME and 3.
std::optional<std::pair<std::string, std::size_t>> split_part(const std::string& name) {
  constexpr std::string_view kTail = "-00000-of-00000.gguf";
  if (name.size() <= kTail.size()) {
    return std::nullopt;
  }
  const std::string tail = name.substr(name.size() - kTail.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < kTail.size(); ++i) {
    const bool is_digit = tail[i] >= '0' && tail[i] <= '9';
    if (kTail[i] == '0' ? !is_digit : tail[i] != kTail[i]) {
      return std::nullopt;
    }
    if (i >= 10 && is_digit) {  // behind "-00000-of-"
      count = count * 10 + static_cast<std::size_t>(tail[i] - '0');
    }
  }
  return std::pair(name.substr(0, name.size() - kTail.size()), count);
}

// By what to call them. Files that go with a model (a projector, an importance matrix) are none.
std::map<std::string, GgufModelFiles> gguf_models(const std::vector<std::string>& all) {
  std::map<std::string, GgufModelFiles> found;
  for (const std::string& name : all) {
    const std::string file = lower(name.substr(name.rfind('/') + 1));
    if (!file.ends_with(".gguf") || file.starts_with("mmproj") || file.find("imatrix") != std::string::npos) {
      continue;
    }
    const auto part = split_part(name);
    GgufModelFiles& model = found[part ? part->first : name.substr(0, name.size() - 5)];
    model.parts = part ? part->second : 1;
    model.names.push_back(name);
  }
  return found;
}

// Whether QUANT stands in the name as a word: "Q4_K" is no word of "model-Q4_K_M".
bool has_word(const std::string& name, const std::string& word) {
  constexpr std::string_view kBetween = "-./";
  const std::string text = lower(name);
  const std::string wanted = lower(word);
  for (std::size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    const std::size_t end = at + wanted.size();
    const bool begins = at == 0 || kBetween.find(text[at - 1]) != std::string_view::npos;
    if (begins && (end == text.size() || kBetween.find(text[end]) != std::string_view::npos)) {
      return true;
    }
  }
  return false;
}

std::string list_of(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    if (shown.size() == kShownMost) {
      shown.push_back(fmt::format("and {} more", names.size() - kShownMost));
      break;
    }
    shown.push_back(printable(name));
  }
  return fmt::format("{}", fmt::join(shown, ", "));
}

absl::StatusOr<HubFiles> take_gguf(const std::string& called, GgufModelFiles model, const HubName& name) {
  std::sort(model.names.begin(), model.names.end());
  if (model.names.size() != model.parts || model.parts == 0 || model.parts > models::kShardsMost) {
    return absl::NotFoundError(fmt::format("{}: {} has {} of {} files", name.repository(), printable(called),
                                           model.names.size(), model.parts));
  }
  HubFiles files;
  files.gguf = model.names.front();
  files.names.assign(model.names.rbegin(), model.names.rend());
  return files;
}

absl::StatusOr<HubFiles> choose_gguf(const std::vector<std::string>& all, const HubName& name) {
  const std::map<std::string, GgufModelFiles> models = gguf_models(all);
  std::vector<std::string> fitting;
  std::vector<std::string> known;
  for (const auto& [called, model] : models) {
    known.push_back(called);
    if (name.quant.empty() || has_word(called, name.quant)) {
      fitting.push_back(called);
    }
  }
  // A file of that very name beats those whose names have it among their words.
  for (const std::string& called : known) {
    const std::string file = lower(called.substr(called.rfind('/') + 1));
    if (!name.quant.empty() && (file == lower(name.quant) || file + ".gguf" == lower(name.quant))) {
      fitting = {called};
      break;
    }
  }
  if (fitting.size() == 1) {
    return take_gguf(fitting.front(), models.at(fitting.front()), name);
  }
  if (known.empty() && name.quant.empty()) {
    return absl::NotFoundError(fmt::format(
        "{}: no config.json with model.safetensors, and no GGUF file: nothing that Coppice reads", name.repository()));
  }
  if (known.empty()) {
    return absl::NotFoundError(fmt::format("{}: has no GGUF files; leave out :{}", name.repository(), name.quant));
  }
  if (fitting.empty()) {
    return absl::NotFoundError(
        fmt::format("{}: no GGUF file of {}; there are {}", name.repository(), name.quant, list_of(known)));
  }
  return absl::NotFoundError(fmt::format("{}: several GGUF models: {}; name one behind a colon, as {}:{}",
                                         name.repository(), list_of(fitting), name.repository(),
                                         printable(fitting.front().substr(fitting.front().rfind('/') + 1))));
}

}  // namespace

std::vector<std::string> folder_files() {
  return {kConfigFile, kIndexFile, kWeightsFile};
}

bool may_have_folder(const std::function<bool(const std::string&)>& has) {
  return has(kConfigFile) && (has(kIndexFile) || has(kWeightsFile));
}

std::uint64_t file_bytes_most(const std::string& name) {
  constexpr std::uint64_t kWeightsBytesMost = std::uint64_t{1} << 42;  // 4 TiB: beyond every model
  if (name.ends_with(".safetensors") || name.ends_with(".gguf")) {
    return kWeightsBytesMost;
  }
  if (name == kIndexFile) {
    return models::kIndexBytesMost;
  }
  const bool is_config = name == kConfigFile || name == "generation_config.json" || name.ends_with("/config.json");
  return is_config ? models::kConfigBytesMost : text::kJsonBytesMax;
}

absl::StatusOr<HubFiles> choose_files(const std::vector<std::string>& all, const HubName& name) {
  const std::set<std::string, std::less<>> known(all.begin(), all.end());
  const auto has = [&known](const std::string& file) { return known.contains(file); };
  if (!name.quant.empty() || !may_have_folder(has)) {
    return choose_gguf(all, name);
  }
  HubFiles files;
  std::size_t templates = 0;
  for (const std::string& file : all) {
    const bool is_template = file.starts_with(kTemplateFolder) && file.ends_with(".jinja");
    if (is_template && ++templates > kTemplatesMost) {
      return absl::InvalidArgumentError(
          fmt::format("{} lists more than {} files in {}", name.repository(), kTemplatesMost, kTemplateFolder));
    }
    if (is_template || std::find(kOptional.begin(), kOptional.end(), file) != kOptional.end()) {
      files.names.push_back(file);
    }
  }
  if (known.contains(kIndexFile)) {
    files.index = kIndexFile;
    files.names.emplace_back(kIndexFile);
  } else {
    files.names.emplace_back(kWeightsFile);
  }
  files.names.emplace_back(kConfigFile);
  return files;
}

absl::StatusOr<std::vector<std::string>> read_index(std::string_view json) {
  const models::JsonLimits limits{.bytes = models::kIndexBytesMost};
  COPPICE_ASSIGN_OR_RETURN(const nlohmann::json index, models::parse_json(json, kIndexFile, limits));
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  std::set<std::string> shards;
  if (map == index.end() || !map->is_object() || map->empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: has no weight_map", kIndexFile));
  }
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_safe_path(file.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(
          fmt::format("{}: the file of {} is {}", kIndexFile, printable(tensor), models::json_excerpt(file)));
    }
    shards.insert(file.get<std::string>());
  }
  if (shards.size() > models::kShardsMost) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} files; at most {} are read", kIndexFile, shards.size(), models::kShardsMost));
  }
  return std::vector<std::string>(shards.begin(), shards.end());
}

void add_shards(const std::vector<std::string>& shards, HubFiles& files) {
  const auto place = std::find(files.names.begin(), files.names.end(), files.index);
  files.names.insert(place, shards.begin(), shards.end());
}

}  // namespace coppice::server
