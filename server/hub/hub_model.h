// From a model's name on the Hugging Face Hub to its files on this machine.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/hub/download.h"
#include "server/hub/hub_client.h"
#include "server/hub/hub_name.h"

namespace coppice::server {

// What finding a model may do.
struct FetchOptions {
  // How servers are reached. Called before the first connection, and not at all where none is made: what is wrong in
  // it is no matter then.
  std::function<absl::StatusOr<HubOptions>()> hub;
  std::filesystem::path hub_cache;     // Hugging Face's
  std::filesystem::path models_cache;  // our own, for models that are on no Hub
  bool is_offline = false;             // no connection is made
  FetchProgress progress;              // may be empty
};

// Of a cached model nothing is asked: it is used as it is. What is not there, or in part, is fetched into the cache.
// ENSURES: a folder in Hugging Face layout or a GGUF file, with all that goes with it. ERRORS: NotFound when there is
// no such model, or it is not here and may not be fetched; as HubClient and download_all(): one line that says what was
// tried.
absl::StatusOr<std::filesystem::path> find_hub_model(const HubName& name, const FetchOptions& options);

}  // namespace coppice::server
