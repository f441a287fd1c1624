// `coppice tokenize MODEL [TEXT]`: ids and pieces, one token a line; text from stdin when none is given.
#include <cstdio>
#include <iostream>
#include <iterator>

#include "base/status_macros.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/commands/command.h"
#include "server/commands/model_path.h"
#include "server/prompts/prompt_encoder.h"

namespace coppice::server {
namespace {

struct TokenizeArguments {
  ModelChoice model;
  std::string text;
  bool has_text = false;
  bool json = false;
  bool no_special = false;
  bool parse_special = false;
};

OptionTable tokenize_table(TokenizeArguments& arguments) {
  OptionTable table;
  arguments.model.add_to(table);
  return table;
}

absl::Status tokenize(const TokenizeArguments& arguments, CommandOptions& flags) {
  COPPICE_RETURN_IF_ERROR(flags.apply());
  COPPICE_ASSIGN_OR_RETURN(const auto package, open_model(arguments.model));
  COPPICE_ASSIGN_OR_RETURN(const ModelText text, package->text());
  std::string input = arguments.text;
  if (!arguments.has_text) {
    input.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  openai::TokenizeRequest request;
  request.prompt = std::move(input);
  request.add_special_tokens = !arguments.no_special;
  request.parse_special = arguments.parse_special;
  const openai::RequestLimits limits;
  const openai::Result<TokenIds> ids = PromptEncoder(*text.tokenizer, nullptr, limits).encode(request);
  if (!ids.ok()) {
    return absl::InvalidArgumentError(ids.error().message);
  }
  if (arguments.json) {
    std::puts(nlohmann::json(ids.value()).dump().c_str());
    return absl::OkStatus();
  }
  for (const TokenId id : ids.value()) {
    const std::string piece =
        nlohmann::json(text.tokenizer->piece(id)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    fmt::print("{:>8}  {}\n", id, piece);
  }
  return absl::OkStatus();
}

}  // namespace

void add_tokenize_command(CLI::App& program, Run& run) {
  CLI::App* command = program.add_subcommand("tokenize", "token ids and pieces of a text");
  add_examples(*command, {"coppice tokenize demo 'Once upon a time'"});
  auto arguments = std::make_shared<TokenizeArguments>();
  command->add_option("MODEL", arguments->model.text, kModelHelp)->required();
  CLI::Option* text = command->add_option("TEXT", arguments->text, "text; standard input when absent");
  command->add_flag("--json", arguments->json, "a JSON array of ids");
  command->add_flag("--no-special", arguments->no_special, "no beginning-of-sequence token");
  command->add_flag("--parse-special", arguments->parse_special, "special tokens written in the text become tokens");
  auto flags = std::make_shared<CommandOptions>(*command, tokenize_table(*arguments), /*with_config=*/false);
  command->callback([arguments, flags, text, &run] {
    arguments->has_text = text->count() > 0;
    run = [arguments, flags] { return tokenize(*arguments, *flags); };
  });
}

}  // namespace coppice::server
