// `coppice inspect MODEL`: architecture, dtype, tokenizer, memory per token, what fits in this machine.
#include <cstdio>

#include "base/cpu_info.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "models/inspect.h"
#include "server/app/device_options.h"
#include "server/commands/command.h"
#include "server/commands/model_path.h"
#include "server/model/model_loader.h"

namespace coppice::server {
namespace {

absl::Status inspect(const std::string& model, const std::string& dtype_name, const std::string& quant) {
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(model));
  COPPICE_ASSIGN_OR_RETURN(const models::ModelConfig config, package->config());
  COPPICE_ASSIGN_OR_RETURN(const auto weights, package->weights(config));
  COPPICE_ASSIGN_OR_RETURN(const auto backend, open_backend("auto", cuda_options_from_environment()));
  COPPICE_ASSIGN_OR_RETURN(const kernels::ModelFormats formats,
                           choose_formats(dtype_name, quant, weights->stored_format(), backend->device()));
  const models::ModelFacts facts =
      models::model_facts(config, weights->stored_format(), weights->stored_bytes(), formats);
  const auto memory = static_cast<std::size_t>(base::available_memory_bytes());
  fmt::print("{}", models::format_model_facts(facts, memory));
  if (const absl::StatusOr<ModelText> text = package->text(); text.ok()) {
    const text::Tokenizer& tokenizer = *text->tokenizer;
    fmt::print("{:<24}{}, {} tokens\n", "tokenizer", std::string(tokenizer.kind()), tokenizer.vocab_size());
  } else {
    fmt::print("{:<24}{}\n", "tokenizer", std::string(text.status().message()));
  }
  fmt::print("{:<24}{}: {}\n", "device", backend->device().name(), backend->device().description());
  return absl::OkStatus();
}

}  // namespace

void add_inspect_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("inspect", "what a model is, and what of it fits in this machine");
  add_examples(*command, {"coppice inspect demo"});
  auto model = std::make_shared<std::string>();
  auto dtype = std::make_shared<std::string>("auto");
  command->add_option("MODEL", *model, "model folder, .gguf file, or demo")->required();
  command->add_option("--dtype", *dtype, "auto, f32, bf16 or f16");
  auto quant = std::make_shared<std::string>("auto");
  command->add_option("--quant", *quant, "auto (as in its files), none, int8, int4 or int4-128");
  command->callback(
      [model, dtype, quant, &run] { run = [model, dtype, quant] { return inspect(*model, *dtype, *quant); }; });
}

}  // namespace coppice::server
