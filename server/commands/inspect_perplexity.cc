// Text from a file to tokens, a model in an engine that is sized for a few windows, and the figures.
#include "server/commands/inspect_perplexity.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/formats.h"
#include "nlohmann/json.hpp"
#include "server/app/device_options.h"
#include "server/app/progress_bar.h"
#include "server/commands/model_path.h"
#include "server/model/facts_on.h"
#include "server/scoring/text_score.h"
#include "text/utf8.h"

namespace coppice::server {
namespace {

constexpr std::int32_t kWindowDefault = 512;  // tokens: what llama.cpp's perplexity takes

absl::StatusOr<std::string> read_text(const std::string& file) {
  COPPICE_ASSIGN_OR_RETURN(std::string text, base::read_file(file, text::kEncodeBytesMax));
  if (text.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: the file is empty: there is nothing to score", file));
  }
  if (text.find('\0') != std::string::npos || !text::is_valid_utf8(text)) {
    return absl::InvalidArgumentError(fmt::format("{}: not text in UTF-8", file));
  }
  return text;
}

// A text of the model's tokens.
struct EncodedText {
  std::vector<TokenId> tokens;
  std::optional<TokenId> bos;  // that the tokenizer puts before a text
};

absl::StatusOr<EncodedText> encode(const ModelPackage& package, const std::string& text) {
  COPPICE_ASSIGN_OR_RETURN(const ModelText model, package.text());
  EncodedText encoded;
  COPPICE_ASSIGN_OR_RETURN(encoded.tokens,
                           model.tokenizer->encode(text, {.add_special = false, .parse_special = false}));
  if (const text::SpecialTokens& special = model.tokenizer->special(); special.add_bos && special.bos >= 0) {
    encoded.bos = special.bos;
  }
  return encoded;
}

absl::StatusOr<std::int32_t> choose_window(std::int32_t asked, const models::ModelConfig& config) {
  if (asked > config.max_positions) {
    return absl::InvalidArgumentError(
        fmt::format("--window {}: the model's context has {} tokens", asked, config.max_positions));
  }
  return asked != 0 ? asked : std::min(kWindowDefault, config.max_positions);
}

// As much KV memory as the windows under way take, and no more: --perplexity is for looking at large models too.
std::size_t kv_bytes_for(const models::ModelFacts& facts, std::int32_t window, std::int32_t page_size) {
  const auto pages = static_cast<std::size_t>((window + page_size - 1) / page_size + 1);
  return facts.kv_bytes_per_token * pages * static_cast<std::size_t>(page_size) * kScoreTogether;
}

struct ModelForWindows {
  LoadedModel model;
  kernels::WeightFormat stored;  // of most of the weights, in their files
};

absl::StatusOr<ModelForWindows> load_for_windows(const ModelPackage& package, LoadModelOptions load,
                                                 const models::ModelConfig& config, std::int32_t window) {
  COPPICE_ASSIGN_OR_RETURN(const auto weights, package.weights(config));
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend(load.device, load.cuda));
  COPPICE_ASSIGN_OR_RETURN(const kernels::ModelFormats formats,
                           choose_formats(load, weights->stored_format(), backend->device()));
  const models::ModelFacts facts = facts_on(backend->device(), config, *weights, formats);
  load.engine.model_tokens_max = window;
  load.engine.kv_bytes = kv_bytes_for(facts, window, load.engine.page_size);
  load.engine.prefix_cache = false;
  load.engine.speculation = false;
  ProgressBar bar("weights");
  load.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
  COPPICE_ASSIGN_OR_RETURN(LoadedModel model, load_model(package, load));
  return ModelForWindows{std::move(model), weights->stored_format()};
}

void print_figures(const nlohmann::ordered_json& figures, bool json) {
  if (json) {
    std::puts(figures.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
    return;
  }
  for (const auto& [name, value] : figures.items()) {
    fmt::print("{:<24}{}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

}  // namespace

absl::Status print_perplexity(const ModelChoice& model, const LoadModelOptions& load,
                              const PerplexityOptions& options) {
  COPPICE_ASSIGN_OR_RETURN(const std::string text, read_text(options.file));
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(model));
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, package->config());
  COPPICE_ASSIGN_OR_RETURN(const std::int32_t window, choose_window(options.window, config));
  COPPICE_ASSIGN_OR_RETURN(const EncodedText encoded, encode(*package, text));
  COPPICE_ASSIGN_OR_RETURN(ModelForWindows opened, load_for_windows(*package, load, config, window));
  LoadedModel& loaded = opened.model;
  const auto begin = std::chrono::steady_clock::now();
  absl::StatusOr<TextScore> score;
  {
    ProgressBar bar("scoring");
    score = score_tokens(*loaded.engine, encoded.tokens, {.window = window, .bos = encoded.bos},
                         [&bar](std::size_t done, std::size_t total) { bar.update(done, total); });
  }
  if (!score.ok()) {
    return absl::Status(score.status().code(),
                        fmt::format("{}: {}", options.file, std::string(score.status().message())));
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
  const auto scored = static_cast<double>(score->tokens);
  print_figures({{"model", model.text},
                 {"text", options.file},
                 {"bytes", text.size()},
                 {"text_tokens", encoded.tokens.size()},
                 {"tokens", score->tokens},
                 {"windows", score->windows},
                 {"window", window},
                 {"bos", encoded.bos.has_value()},
                 {"log_likelihood", score->log_likelihood},
                 {"nats_per_token", -score->log_likelihood / scored},
                 {"perplexity", score->perplexity()},
                 {"dtype", std::string(kernels::format_name(loaded.transformer->formats().compute))},
                 {"weights",
                  std::string(kernels::format_name(loaded.transformer->formats().packing().storage_of(opened.stored)))},
                 {"kv_dtype", std::string(kernels::format_name(loaded.transformer->formats().kv))},
                 {"device", std::string(loaded.backend->device().name())},
                 {"seconds", spent.count()},
                 {"tokens_per_s", scored / spent.count()}},
                options.json);
  return absl::OkStatus();
}

}  // namespace coppice::server
