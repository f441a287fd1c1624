// `coppice generate MODEL --prompt TEXT`: one answer to stdout, as it comes, by the same engine that serves.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <limits>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/app/device_options.h"
#include "server/app/progress_bar.h"
#include "server/commands/command.h"
#include "server/commands/compute_flags.h"
#include "server/commands/model_path.h"
#include "server/commands/speculation_flags.h"
#include "server/model/model_loader.h"
#include "server/prompts/prompt_encoder.h"
#include "server/sessions/sampling_map.h"
#include "text/tokenizer/detokenizer.h"

namespace coppice::server {
namespace {

struct GenerateArguments {
  ModelChoice model;
  std::string prompt;
  bool prompt_given = false;
  bool chat = false;
  bool seed_given = false;
  std::uint64_t seed = 0;
  std::int32_t max_tokens = 128;
  base::SamplingChoices sampling;
  bool ignore_eos = false;
  SpeculationFlags speculation;
  LoadModelOptions load;
};

OptionTable generate_table(GenerateArguments& arguments) {
  OptionTable table;
  table.add_integer("max-tokens", &arguments.max_tokens, 1, 1 << 24, "most tokens to generate");
  base::for_each_sampling_knob(
      [&table](const base::SamplingKnob& knob, auto& choice) {
        table.add_choice(knob.name, &choice, knob.least, knob.most, knob.meaning);
      },
      arguments.sampling);
  table.add_seed("seed", &arguments.seed, &arguments.seed_given, "the same seed gives the same text");
  table.add_switch("ignore-eos", &arguments.ignore_eos, "go on past the end of sequence");
  add_compute_rows(table, arguments.load);
  table.add_integer("max-model-len", &arguments.load.engine.model_tokens_max, 0, 1 << 30, "0 = the model's");
  table.add_bytes("kv-memory", &arguments.load.engine.kv_bytes, "memory for the KV cache; 0 = choose");
  arguments.speculation.add_to(table, arguments.load.engine);
  arguments.model.add_to(table);
  return table;
}

absl::StatusOr<std::vector<TokenId>> prompt_tokens(const GenerateArguments& arguments, const ModelText& text) {
  std::string prompt = arguments.prompt;
  if (!arguments.prompt_given) {
    prompt.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  openai::GenerationRequest request;
  std::unique_ptr<ChatPrompter> prompter;
  if (arguments.chat) {
    if (text.config.chat_templates.empty()) {
      return absl::InvalidArgumentError("--chat: the model has no chat template");
    }
    COPPICE_ASSIGN_OR_RETURN(prompter, ChatPrompter::create(text.config, *text.tokenizer));
    request.kind = openai::RequestKind::kChat;
    request.chat.messages =
        std::make_shared<const openai::Json>(openai::Json::array({{{"role", "user"}, {"content", prompt}}}));
  } else {
    request.prompts.emplace_back(std::move(prompt));
  }
  openai::RequestLimits limits;
  limits.model_tokens_max = std::numeric_limits<std::int32_t>::max();  // the engine knows the model's
  openai::Result<std::vector<TokenIds>> tokens = PromptEncoder(*text.tokenizer, prompter.get(), limits).encode(request);
  if (!tokens.ok()) {
    return absl::InvalidArgumentError(tokens.error().message);
  }
  return std::move(tokens.value().front());
}

engine::Request make_request(const GenerateArguments& arguments, const base::SamplingChoices& defaults,
                             std::vector<TokenId> prompt, std::shared_ptr<engine::EventQueue> queue) {
  engine::Request request;
  request.id = 1;
  request.prompt = std::move(prompt);
  request.sampling.max_tokens = arguments.max_tokens;
  base::SamplingChoices recommended;  // of it, only the temperature: cuts are made only where a flag asks for them
  recommended.temperature = defaults.temperature;
  static_cast<base::SamplingNumbers&>(request.sampling) = resolve_sampling(arguments.sampling, recommended);
  request.sampling.ignore_eos = arguments.ignore_eos;
  if (arguments.seed_given) {
    request.sampling.seed = arguments.seed;
  }
  request.events = std::move(queue);
  return request;
}

// Steps the engine until the request ends, printing text as it becomes certain.
absl::Status print_answer(engine::Engine& engine, engine::EventQueue& queue, const text::Tokenizer& tokenizer,
                          const std::vector<TokenId>& prompt) {
  text::Detokenizer detokenizer = text::Detokenizer::after(tokenizer, {.skip_special = true}, prompt);
  detokenizer.disown_pending();
  bool is_done = false;
  while (!is_done && engine.step()) {
    for (const engine::Event& event : queue.take()) {
      if (event.finish == engine::FinishReason::kError) {
        return event.fault == engine::Fault::kRequest ? absl::InvalidArgumentError(event.error)
                                                      : absl::InternalError(event.error);
      }
      is_done = event.finish != engine::FinishReason::kNone;
      for (std::size_t i = 0; i < event.tokens.size(); ++i) {
        const bool is_end = event.finish == engine::FinishReason::kStop && i + 1 == event.tokens.size();
        if (!is_end) {
          fmt::print("{}", detokenizer.push(event.tokens[i].token));
        }
      }
      std::fflush(stdout);
    }
  }
  fmt::print("{}\n", detokenizer.finish());
  return absl::OkStatus();
}

absl::Status generate(GenerateArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
  COPPICE_ASSIGN_OR_RETURN(const ModelText text, package->text());
  COPPICE_ASSIGN_OR_RETURN(const GenerationDefaults defaults, package->generation_defaults());
  COPPICE_ASSIGN_OR_RETURN(std::vector<TokenId> prompt, prompt_tokens(arguments, text));
  LoadModelOptions load = arguments.load;
  load.cuda = cuda_options_from_environment();
  arguments.speculation.apply(load.engine);
  load.engine.running_max = 1;
  LoadedModel model;
  {
    ProgressBar bar("weights");
    load.progress = [&bar](std::size_t done, std::size_t total) { bar.update(done, total); };
    COPPICE_ASSIGN_OR_RETURN(model, load_model(*package, load));
  }
  auto queue = std::make_shared<engine::EventQueue>([] {});
  if (!model.engine->submit(make_request(arguments, defaults.sampling, prompt, queue))) {
    return absl::InternalError("an idle engine refused the request");
  }
  return print_answer(*model.engine, *queue, *text.tokenizer, prompt);
}

}  // namespace

void add_generate_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("generate", "one answer to standard output");
  add_examples(*command, {"coppice generate demo --prompt 'Once upon a time' --max-tokens 64"});
  auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp)->required();
  CLI::Option* prompt = command->add_option("--prompt", arguments->prompt, "text; standard input when absent");
  command->add_flag("--chat", arguments->chat, "the prompt is a user's message: render the model's chat template");
  auto flags = std::make_shared<CommandOptions>(*command, generate_table(*arguments), /*with_config=*/false);
  command->callback([arguments, flags, prompt, &run] {
    arguments->prompt_given = prompt->count() > 0;
    run = [arguments, flags] { return generate(*arguments, *flags); };
  });
}

}  // namespace coppice::server
