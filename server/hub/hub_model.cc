// The cache first, then the Hub.
#include "server/hub/hub_model.h"

#include <algorithm>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "models/limits.h"
#include "server/hub/hub_cache.h"
#include "server/hub/hub_files.h"
#include "spdlog/spdlog.h"

namespace coppice::server {
namespace {

namespace fs = std::filesystem;

absl::Status about(const std::string& what, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", what, std::string(status.message())));
}

// What of a model the cache holds.
struct Cached {
  fs::path path;        // "" = it is not there, or not all of it
  std::string missing;  // why not
};

Cached find_cached(const HubCache& cache, const HubName& name) {
  const std::optional<std::string> commit = cache.commit(name.revision);
  const std::vector<std::string> there = commit ? cache.files(*commit) : std::vector<std::string>();
  if (there.empty()) {
    return {.path = {}, .missing = "it is not there"};
  }
  absl::StatusOr<HubFiles> files = choose_files(there, name);
  if (!files.ok()) {
    return {.path = {}, .missing = "there is only a part of it"};
  }
  const fs::path folder = cache.snapshot(*commit);
  if (!files->gguf.empty()) {
    // Of a repository with safetensors the bare name means those, though another GGUF file was fetched before.
    const bool is_meant = !name.quant.empty() ||
                          !may_have_folder([&](const std::string& file) { return !cache.is_absent(*commit, file); });
    return is_meant ? Cached{.path = folder / files->gguf, .missing = {}}
                    : Cached{.path = {},
                             .missing = fmt::format("there is only {} of it; {}:{} is its name", files->gguf,
                                                    name.repository(), files->gguf.substr(files->gguf.rfind('/') + 1))};
  }
  const std::set<std::string> known(there.begin(), there.end());
  if (!known.contains("tokenizer.json") && !known.contains("tokenizer.model") && !known.contains("vocab.json")) {
    return {.path = {}, .missing = "there is no tokenizer with it"};
  }
  if (!files->index.empty()) {
    const auto text = base::read_file(folder / files->index, models::kIndexBytesMost);
    const auto shards = text.ok() ? read_index(*text) : text.status();
    for (const std::string& shard : shards.ok() ? *shards : std::vector<std::string>{files->index}) {
      if (!shards.ok() || !known.contains(shard)) {
        return {.path = {}, .missing = fmt::format("{} is not there", shard)};
      }
    }
  }
  return {.path = folder, .missing = {}};
}

// Fetches one model. Owner: find_hub_model()'s stack.
class Fetcher {
 public:
  Fetcher(HubClient client, const HubCache& cache, const HubName& name, const FetchOptions& options)
      : client_(std::move(client)), cache_(cache), name_(name), options_(options) {}

  absl::StatusOr<fs::path> run() {
    COPPICE_ASSIGN_OR_RETURN(listing_, client_.list(name_));
    COPPICE_ASSIGN_OR_RETURN(HubFiles files, choose_files(listing_.files, name_));
    COPPICE_RETURN_IF_ERROR(cache_.prepare());
    if (!files.index.empty()) {
      COPPICE_RETURN_IF_ERROR(read_shards(files));
    }
    COPPICE_RETURN_IF_ERROR(fetch(files.names));
    COPPICE_RETURN_IF_ERROR(publish(files.names));
    const fs::path folder = cache_.snapshot(listing_.commit);
    return files.gguf.empty() ? folder : folder / files.gguf;
  }

 private:
  // The index says which other files there are.
  absl::Status read_shards(HubFiles& files) {
    COPPICE_ASSIGN_OR_RETURN(const HubFile index, described(files.index));
    COPPICE_RETURN_IF_ERROR(fetch({files.index}));
    COPPICE_ASSIGN_OR_RETURN(const std::string text, base::read_file(cache_.blob(index.hash), models::kIndexBytesMost));
    COPPICE_ASSIGN_OR_RETURN(const std::vector<std::string> shards, read_index(text));
    const std::set<std::string_view> listed(listing_.files.begin(), listing_.files.end());
    for (const std::string& shard : shards) {
      if (!listed.contains(shard)) {
        return absl::NotFoundError(fmt::format("{} names {}, which is not there", files.index, printable(shard)));
      }
    }
    add_shards(shards, files);
    return absl::OkStatus();
  }

  absl::StatusOr<HubFile> described(const std::string& file) {
    const auto known = files_.find(file);
    if (known != files_.end()) {
      return known->second;
    }
    COPPICE_ASSIGN_OR_RETURN(const HubFile found, client_.describe(name_, listing_.commit, file));
    if (const std::uint64_t most = file_bytes_most(file); found.bytes > most) {
      return absl::InvalidArgumentError(fmt::format("{}: {} bytes, at most {} are read", file, found.bytes, most));
    }
    files_.emplace(file, found);
    return found;
  }

  // Fetches the contents that are not there.
  absl::Status fetch(const std::vector<std::string>& names) {
    std::vector<Download> downloads;
    std::set<std::string> hashes;  // two files may have one content
    std::uint64_t bytes = 0;
    for (const std::string& name : names) {
      COPPICE_ASSIGN_OR_RETURN(const HubFile file, described(name));
      std::error_code error;
      const fs::path blob = cache_.blob(file.hash);
      if (!hashes.insert(file.hash).second || fs::file_size(blob, error) == file.bytes) {
        continue;
      }
      downloads.push_back({.url = file.url,
                           .token = client_.options().token,
                           .what = name,
                           .bytes = file.bytes,
                           .hash_kind = file.hash_kind,
                           .hash = file.hash,
                           .path = blob,
                           .lock = cache_.lock(file.hash)});
      bytes += file.bytes;
    }
    constexpr double kMegabyte = 1e6;  // bytes
    if (!downloads.empty()) {
      spdlog::info("{}: fetching {}, {:.1f} MB, from {} to {}", name_.repository(),
                   downloads.size() == 1 ? downloads.front().what : fmt::format("{} files", downloads.size()),
                   static_cast<double>(bytes) / kMegabyte, client_.options().endpoint, options_.hub_cache.string());
    }
    return download_all(client_.https(), downloads, options_.progress);
  }

  absl::Status publish(const std::vector<std::string>& names) {
    std::vector<std::pair<std::string, std::string>> links;
    for (const std::string& name : names) {
      links.emplace_back(name, files_.at(name).hash);
    }
    COPPICE_RETURN_IF_ERROR(cache_.publish(name_.revision, listing_.commit, links));
    const std::set<std::string_view> listed(listing_.files.begin(), listing_.files.end());
    for (const std::string& file : folder_files()) {
      if (!listed.contains(file)) {
        // Spares a later question; the model is whole without it.
        cache_.note_absent(listing_.commit, file).IgnoreError();
      }
    }
    return absl::OkStatus();
  }

  const HubClient client_;
  const HubCache& cache_;
  const HubName& name_;
  const FetchOptions& options_;
  HubListing listing_;
  std::map<std::string, HubFile> files_;
};

}  // namespace

absl::StatusOr<fs::path> find_hub_model(const HubName& name, const FetchOptions& options) {
  const HubCache cache(options.hub_cache, name);
  const Cached cached = find_cached(cache, name);
  if (!cached.path.empty()) {
    return cached.path;
  }
  const std::string looked = fmt::format("looked in {}: {}", options.hub_cache.string(), cached.missing);
  if (options.is_offline) {
    return absl::NotFoundError(fmt::format("{}: {}; offline, it is not fetched: leave out --offline (HF_HUB_OFFLINE)",
                                           name.served_name(), looked));
  }
  COPPICE_ASSIGN_OR_RETURN(const HubOptions hub, options.hub());
  COPPICE_ASSIGN_OR_RETURN(HubClient client, HubClient::create(hub));
  absl::StatusOr<fs::path> path = Fetcher(std::move(client), cache, name, options).run();
  if (path.ok()) {
    return path;
  }
  const absl::Status& status = path.status();
  if (absl::IsUnavailable(status)) {
    return absl::UnavailableError(fmt::format("{}: {}; then asked {}: {}", name.served_name(), looked, hub.endpoint,
                                              std::string(status.message())));
  }
  return about(name.served_name(), status);
}

}  // namespace coppice::server
