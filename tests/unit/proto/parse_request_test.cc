// Every field of the request bodies: good, bad, at its bounds. One row a case.
#include "proto/openai/parse_request.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace coppice::openai {
namespace {

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 1000;
  limits.prompts_max = 4;
  limits.choices_max = 8;
  limits.total_choices_max = 16;
  limits.stop_max = 4;
  limits.stop_bytes_max = 10;
  limits.stop_tokens_max = 3;
  limits.logit_bias_max = 2;
  limits.messages_max = 3;
  limits.tools_max = 2;
  limits.name_bytes_max = 20;
  return limits;
}

std::string with(const char* base, const std::string& fields) {
  return std::string("{") + base + (fields.empty() ? "" : ",") + fields + "}";
}
constexpr const char* kPrompt = R"("prompt":"hi")";
constexpr const char* kMessages = R"("messages":[{"role":"user","content":"hi"}])";

struct GoodRow {
  const char* fields;
};
struct BadRow {
  const char* fields;
  const char* param;    // of the error
  const char* message;  // part of it
};

// Fields that mean the same for completions and chats.
const GoodRow kGoodCommon[] = {
    {""},
    {R"("model":"m")"},
    {R"("temperature":0)"},
    {R"("temperature":100)"},
    {R"("temperature":null)"},
    {R"("top_p":0)"},
    {R"("top_p":1)"},
    {R"("min_p":0.5)"},
    {R"("top_k":-1)"},
    {R"("top_k":0)"},
    {R"("top_k":100)"},
    {R"("top_k":3.0)"},
    {R"("repetition_penalty":0.01)"},
    {R"("presence_penalty":-2)"},
    {R"("frequency_penalty":2)"},
    {R"("max_tokens":1)"},
    {R"("max_tokens":1000)"},
    {R"("min_tokens":5,"max_tokens":5)"},
    {R"("seed":-1)"},
    {R"("seed":18446744073709551615)"},
    {R"("n":8)"},
    {R"("stop":"a")"},
    {R"("stop":["a","b","c","0123456789"])"},
    {R"("stop":[])"},
    {R"("stop_token_ids":[0,99])"},
    {R"("logit_bias":{"0":-100,"99":100})"},
    {R"("ignore_eos":true)"},
    {R"("stream":true,"stream_options":{"include_usage":true})"},
    {R"("response_format":{"type":"text"})"},
    {R"("prompt_logprobs":0)"},
    {R"("priority":-2147483648)"},
    {R"("cache_salt":"0123456789","user":"u")"},
    {R"("prediction":{"type":"content","content":"x"})"},
    {R"("prediction":{"type":"content","content":[{"type":"text","text":"x"}]})"},
    {R"("no_such_field":{"a":[1]},"store":true,"metadata":{})"},
};

const BadRow kBadCommon[] = {
    {R"("model":3)", "model", "must be a string; got the number 3"},
    {R"("model":"0123456789012345678901")", "model", "at most 20 bytes; got 22"},
    {R"("temperature":-0.1)", "temperature", "from 0 to 100; got -0.1"},
    {R"("temperature":100.5)", "temperature", "from 0 to 100; got 100.5"},
    {R"("temperature":"hot")", "temperature", "must be a number; got the string \"hot\""},
    {R"("temperature":true)", "temperature", "must be a number; got true"},
    {R"("top_p":1.01)", "top_p", "from 0 to 1; got 1.01"},
    {R"("top_p":-1)", "top_p", "from 0 to 1"},
    {R"("min_p":2)", "min_p", "from 0 to 1; got 2"},
    {R"("top_k":-2)", "top_k", "from -1 to 100; got -2"},
    {R"("top_k":101)", "top_k", "from -1 to 100; got 101"},
    {R"("top_k":1.5)", "top_k", "must be an integer; got the number 1.5"},
    {R"("repetition_penalty":0)", "repetition_penalty", "from 0.01 to 100; got 0"},
    {R"("presence_penalty":2.1)", "presence_penalty", "from -2 to 2; got 2.1"},
    {R"("frequency_penalty":-3)", "frequency_penalty", "from -2 to 2; got -3"},
    {R"("min_tokens":-1)", "min_tokens", "from 0 to 1000; got -1"},
    {R"("min_tokens":6,"max_tokens":5)", "min_tokens", "not be larger than"},
    {R"("seed":1.5)", "seed", "64-bit integer; got the number 1.5"},
    {R"("seed":"a")", "seed", "64-bit integer"},
    {R"("n":0)", "n", "from 1 to 8; got 0"},
    {R"("n":9)", "n", "from 1 to 8; got 9"},
    {R"("n":[1])", "n", "must be an integer; got an array of 1"},
    {R"("stop":["a","b","c","d","e"])", "stop", "at most 4 strings; got 5"},
    {R"("stop":"01234567890")", "stop", "at most 10 bytes in each string; got 11"},
    {R"("stop":"")", "stop", "empty string"},
    {R"("stop":[1])", "stop", "a string or an array of strings; got the number 1"},
    {R"("stop":{})", "stop", "a string or an array of strings; got an object"},
    {R"("stop_token_ids":[1,2,3,4])", "stop_token_ids", "at most 3 tokens; got 4"},
    {R"("stop_token_ids":[100])", "stop_token_ids", "from 0 to 99; got 100"},
    {R"("stop_token_ids":[-1])", "stop_token_ids", "from 0 to 99; got -1"},
    {R"("stop_token_ids":3)", "stop_token_ids", "an array of token ids; got the number 3"},
    {R"("stop_token_ids":["a"])", "stop_token_ids", "an array of token ids"},
    {R"("logit_bias":{"1":0,"2":0,"3":0})", "logit_bias", "at most 2 entries; got 3"},
    {R"("logit_bias":{"100":0})", "logit_bias", "token 100; the model has tokens 0 to 99"},
    {R"("logit_bias":{"-1":0})", "logit_bias", "token -1"},
    {R"("logit_bias":{"x":0})", "logit_bias", "keys must be token ids; got \"x\""},
    {R"("logit_bias":{"1 ":0})", "logit_bias", "keys must be token ids"},
    {R"("logit_bias":{"1":101})", "logit_bias", "from -100 to 100; got 101"},
    {R"("logit_bias":{"1":"a"})", "logit_bias", "to numbers; got the string"},
    {R"("logit_bias":[])", "logit_bias", "an object from token ids to numbers; got an empty array"},
    {R"("ignore_eos":1)", "ignore_eos", "true or false; got the number 1"},
    {R"("stream":"yes")", "stream", "true or false"},
    {R"("stream_options":{"include_usage":true})", "stream_options", "only allowed when 'stream' is true"},
    {R"("stream":true,"stream_options":true)", "stream_options", "an object; got true"},
    {R"("stream":true,"stream_options":{"include_usage":1})", "stream_options.include_usage", "true or false"},
    {R"("response_format":"text")", "response_format", "an object with a 'type'"},
    {R"("use_beam_search":true)", "use_beam_search", "not supported"},
    {R"("prompt_logprobs":21)", "prompt_logprobs", "from 0 to 20; got 21"},
    {R"("prompt_logprobs":1,"stream":true)", "prompt_logprobs", "cannot be streamed"},
    {R"("priority":2147483648)", "priority", "got 2147483648"},
    {R"("cache_salt":"012345678901234567890")", "cache_salt", "at most 20 bytes"},
    {R"("prediction":"x")", "prediction", "an object with 'type'"},
    {R"("prediction":{"type":"content"})", "prediction", "an object with 'type'"},
    {R"("prediction":{"content":[{"type":"image_url"}]})", "prediction.content", "only hold parts of type \"text\""},
    {R"("n":1,"n":2)", "", "\"n\" comes twice"},
};

const BadRow kBadCompletion[] = {
    {R"("prompt":[])", "prompt", "got an empty array"},
    {R"("prompt":{})", "prompt", "got an object"},
    {R"("prompt":3)", "prompt", "got the number 3"},
    {R"("prompt":[[]])", "prompt", "at least one token"},
    {R"("prompt":[1,"a"])", "prompt", "got the string \"a\""},
    {R"("prompt":["a",null])", "prompt", "got null"},
    {R"("prompt":["a",1])", "prompt", "got the number 1"},
    {R"("prompt":[100])", "prompt", "from 0 to 99; got 100"},
    {R"("prompt":[-1])", "prompt", "got the number -1"},
    {R"("prompt":[1.5])", "prompt", "got the number 1.5"},
    {R"("prompt":[99999999999])", "prompt", "got the number 99999999999"},
    {R"("prompt":["a","b","c","d","e"])", "prompt", "at most 4 prompts; got 5"},
    {R"("prompt":["a","b","c"],"n":6)", "n", "more than 16 answers"},
    {R"("prompt":"a","max_tokens":0)", "max_tokens", "from 1 to 1000; got 0"},
    {R"("prompt":"a","max_tokens":1001)", "max_tokens",
     "maximum context length is 1000 tokens. However, 'max_tokens' asks for 1001 tokens"},
    {R"("prompt":"a","best_of":9)", "best_of", "from 1 to 8; got 9"},
    {R"("prompt":"a","best_of":2,"n":3)", "best_of", "smaller than 'n'"},
    {R"("prompt":"a","best_of":2,"stream":true)", "best_of", "cannot be streamed"},
    {R"("prompt":"a","logprobs":21)", "logprobs", "from 0 to 20; got 21"},
    {R"("prompt":"a","logprobs":true)", "logprobs", "an integer; got true"},
    {R"("prompt":"a","suffix":"x","echo":true)", "suffix", "cannot be used with 'echo'"},
    {R"("prompt":"a","suffix":7)", "suffix", "a string; got the number 7"},
    {R"("prompt":"a","echo":"x")", "echo", "true or false"},
};

const BadRow kBadChat[] = {
    {R"("messages":[])", "messages", "1 to 3 messages; got an empty array"},
    {R"("messages":"hi")", "messages", "1 to 3 messages; got the string"},
    {R"("messages":[1])", "messages[0]", "an object with 'role' and 'content'; got the number 1"},
    {R"("messages":[{"content":"x"}])", "messages[0].role", "must be a string"},
    {R"("messages":[{"role":"","content":"x"}])", "messages[0].role", "must be a string"},
    {R"("messages":[{"role":"user"}])", "messages[0].content", "only an assistant's may be missing"},
    {R"("messages":[{"role":"user","content":null}])", "messages[0].content", "only an assistant's may be missing"},
    {R"("messages":[{"role":"user","content":7}])", "messages[0].content", "got the number 7"},
    {R"("messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])", "messages[0].content",
     "only hold parts of type \"text\"; got type \"image_url\""},
    {R"("messages":[{"role":"user","content":[{"type":"text"}]}])", "messages[0].content", "without a string 'text'"},
    {R"("messages":[{"role":"u"},{"role":"u"},{"role":"u"},{"role":"u"}])", "messages", "got an array of 4"},
    {R"("messages":[{"role":"assistant","tool_calls":{"a":1}}])", "messages[0].tool_calls", "an array; got an object"},
    {R"("messages":[{"role":"assistant","tool_calls":[{}]}])", "messages[0].tool_calls[0]", "'function' object"},
    {R"("messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}])",
     "messages[0].tool_calls[0].function.name", "must be a string"},
    {R"("messages":[{"role":"assistant","tool_calls":[{"id":7,"function":{"name":"f"}}]}])",
     "messages[0].tool_calls[0].id", "a string; got the number 7"},
    {R"("messages":[{"role":"user","content":"a","name":false}])", "messages[0].name", "a string; got false"},
    {R"("messages":[{"role":"tool","content":"a","tool_call_id":7}])", "messages[0].tool_call_id", "got the number 7"},
    {R"("messages":[{"role":"assistant","content":"a","reasoning":true}])", "messages[0].reasoning", "got true"},
    {R"("messages":[{"role":"assistant","content":"a","reasoning_content":["a"]}])", "messages[0].reasoning_content",
     "got an array of 1"},
    {R"("messages":[{"role":"user","content":"a"}],"max_tokens":0)", "max_tokens", "'max_tokens' must be from 1"},
    {R"("messages":[{"role":"user","content":"a"}],"max_tokens":2,"min_tokens":3)", "min_tokens",
     "larger than 'max_tokens'"},
    {R"("messages":[{"role":"user","content":"a"}],"max_completion_tokens":2,"min_tokens":3)", "min_tokens",
     "larger than 'max_completion_tokens'"},
    {R"("messages":[{"role":"user","content":"a"}],"max_tokens":1001)", "max_tokens",
     "maximum context length is 1000 tokens"},
    {R"("messages":[{"role":"user","content":"a"}],"max_tokens":3,"max_completion_tokens":1001)",
     "max_completion_tokens", "maximum context length is 1000 tokens. However, 'max_completion_tokens' asks for 1001"},
    {R"("messages":[{"role":"user","content":"a"}],"max_completion_tokens":0)", "max_completion_tokens",
     "from 1 to 1000"},
    {R"("messages":[{"role":"user","content":"a"}],"logprobs":1)", "logprobs", "true or false"},
    {R"("messages":[{"role":"user","content":"a"}],"top_logprobs":2)", "top_logprobs", "needs 'logprobs'"},
    {R"("messages":[{"role":"user","content":"a"}],"logprobs":true,"top_logprobs":21)", "top_logprobs", "from 0 to 20"},
    {R"("messages":[{"role":"user","content":"a"}],"tools":{})", "tools", "an array of at most 2 tools"},
    {R"("messages":[{"role":"user","content":"a"}],"tools":[{"type":"function"}])", "tools", "'function' object"},
    {R"("messages":[{"role":"user","content":"a"}],"tool_choice":{"type":"function"})", "tool_choice", "got an object"},
    {R"("messages":[{"role":"user","content":"a"}],"chat_template":7)", "chat_template", "a string"},
    {R"("messages":[{"role":"user","content":"a"}],"chat_template_kwargs":[])", "chat_template_kwargs", "an object"},
    {R"("messages":[{"role":"user","content":"a"}],"continue_final_message":true,"add_generation_prompt":true)",
     "continue_final_message", "cannot both be true"},
    {R"("messages":[{"role":"user","content":"a"}],"audio":{"voice":"x"})", "audio", "not supported"},
    {R"("messages":[{"role":"user","content":"a"}],"suffix":"x")", "suffix", "not supported"},
    {R"("messages":[{"role":"user","content":"a"}],"modalities":["text","audio"])", "modalities", "the string"},
    {R"("messages":[{"role":"user","content":"a"}],"tools":[{"function":{}}])", "tools",
     "'tools[0].function.name' must be a string"},
};

template <typename Parsed>
void check_refused(const Parsed& parsed, const BadRow& row, const std::string& body) {
  INFO(body);
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().status == 400);
  CHECK(parsed.error().type == "invalid_request_error");
  CHECK(parsed.error().param == row.param);
  CHECK_THAT(parsed.error().message, Catch::Contains(row.message));
}

TEST_CASE("good fields of both kinds of request") {
  for (const GoodRow& row : kGoodCommon) {
    const auto completion = parse_completion_request(with(kPrompt, row.fields), small_limits());
    INFO(row.fields << (completion.ok() ? "" : completion.error().message));
    CHECK(completion.ok());
    const auto chat = parse_chat_request(with(kMessages, row.fields), small_limits());
    INFO((chat.ok() ? "" : chat.error().message));
    CHECK(chat.ok());
  }
}

TEST_CASE("bad fields of both kinds of request name field, bounds and what came") {
  for (const BadRow& row : kBadCommon) {
    const std::string completion = with(kPrompt, row.fields);
    check_refused(parse_completion_request(completion, small_limits()), row, completion);
    const std::string chat = with(kMessages, row.fields);
    check_refused(parse_chat_request(chat, small_limits()), row, chat);
  }
}

TEST_CASE("bad fields of completions") {
  check_refused(parse_completion_request("{}", small_limits()), {"", "prompt", "missing"}, "{}");
  check_refused(parse_completion_request("[]", small_limits()), {"", "", "must be a JSON object; got an empty"}, "[]");
  for (const BadRow& row : kBadCompletion) {
    const std::string body = std::string("{") + row.fields + "}";
    check_refused(parse_completion_request(body, small_limits()), row, body);
  }
}

TEST_CASE("bad fields of chats") {
  check_refused(parse_chat_request("{}", small_limits()), {"", "messages", "missing"}, "{}");
  for (const BadRow& row : kBadChat) {
    const std::string body = std::string("{") + row.fields + "}";
    check_refused(parse_chat_request(body, small_limits()), row, body);
  }
}

TEST_CASE("a completion's fields arrive where they belong") {
  const auto parsed = parse_completion_request(
      R"({"prompt":["a",[1,2]],"model":"m","temperature":0.5,"top_p":0.9,"min_p":0.1,"top_k":7,"repetition_penalty":1.1,
          "presence_penalty":0.2,"frequency_penalty":0.3,"max_tokens":12,"min_tokens":2,"seed":-2,"n":2,"best_of":3,
          "stop":["x","y"],"stop_token_ids":[4],"logit_bias":{"5":1.5},"ignore_eos":true,"echo":true,"logprobs":3,
          "prompt_logprobs":1,"include_stop_str_in_output":true,"skip_special_tokens":false,"add_special_tokens":false,
          "parse_special":true,"return_token_ids":true,"priority":4,"cache_salt":"s","user":"u",
          "prediction":{"type":"content","content":"p"}})",
      small_limits());
  REQUIRE(parsed.ok());
  const GenerationRequest& request = parsed.value();
  CHECK(request.kind == RequestKind::kCompletion);
  REQUIRE(request.prompts.size() == 2);
  CHECK(std::get<std::string>(request.prompts[0]) == "a");
  CHECK(std::get<std::vector<TokenId>>(request.prompts[1]) == std::vector<TokenId>{1, 2});
  CHECK(request.model == "m");
  CHECK(request.sampling.temperature == 0.5);
  CHECK(request.sampling.top_p == 0.9);
  CHECK(request.sampling.min_p == 0.1);
  CHECK(request.sampling.top_k == 7);
  CHECK(request.sampling.repetition_penalty == 1.1);
  CHECK(request.sampling.presence_penalty == 0.2);
  CHECK(request.sampling.frequency_penalty == 0.3);
  CHECK(request.sampling.max_tokens == 12);
  CHECK(request.sampling.min_tokens == 2);
  CHECK(request.sampling.seed == static_cast<std::uint64_t>(-2));
  CHECK(request.n == 2);
  CHECK(request.best_of == 3);
  CHECK(request.stop == std::vector<std::string>{"x", "y"});
  CHECK(request.sampling.stop_token_ids == std::vector<std::int64_t>{4});
  CHECK(request.sampling.logit_bias == std::vector<std::pair<std::int64_t, double>>{{5, 1.5}});
  CHECK(request.sampling.ignore_eos);
  CHECK(request.echo);
  CHECK(request.top_logprobs == 3);
  CHECK(request.prompt_logprobs == 1);
  CHECK(request.include_stop_str_in_output);
  CHECK_FALSE(request.skip_special_tokens);
  CHECK(request.add_special_tokens == false);
  CHECK(request.parse_special);
  CHECK(request.return_token_ids);
  CHECK(request.priority == 4);
  CHECK(request.cache_salt == "s");
  CHECK(request.user == "u");
  CHECK(request.prediction == "p");
}

TEST_CASE("an echoed or scored prompt may come with nothing to generate") {
  for (const char* const fields : {R"("max_tokens":0,"echo":true)", R"("max_tokens":0,"prompt_logprobs":0)"}) {
    CHECK(parse_completion_request(with(kPrompt, fields), small_limits()).ok());
  }
}

TEST_CASE("a chat is brought into the form that templates want") {
  const auto parsed = parse_chat_request(
      R"({"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},
          {"role":"assistant",
           "tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
          {"role":"tool","content":"done","tool_call_id":"1"}],
          "tools":[{"type":"function","function":{"name":"f"}}],"chat_template_kwargs":{"k":true},
          "max_tokens":3,"max_completion_tokens":4,"logprobs":true,"continue_final_message":true})",
      small_limits());
  REQUIRE(parsed.ok());
  const ChatFields& chat = parsed.value().chat;
  const Json& messages = *chat.messages;
  CHECK(messages[0]["content"] == "a\nb");
  CHECK(messages[1]["content"].is_null());
  CHECK(messages[1]["tool_calls"][0]["function"]["arguments"] == "{\"x\":1}");
  CHECK(messages[2]["tool_call_id"] == "1");
  REQUIRE(chat.tools != nullptr);
  CHECK((*chat.tools)[0]["function"]["name"] == "f");
  CHECK((*chat.template_kwargs)["k"] == true);
  CHECK(chat.continue_final_message);
  CHECK_FALSE(chat.add_generation_prompt);
  CHECK(parsed.value().sampling.max_tokens == 4);
  CHECK(parsed.value().top_logprobs == 0);
}

TEST_CASE("fields that cannot be honoured: refused by name when they say something, absent when not") {
  for (const char* const name :
       {"bad_words", "allowed_token_ids", "logits_processors", "prompt_embeds", "truncate_prompt_tokens", "audio"}) {
    INFO(name);
    const std::string key = fmt::format(R"("{}":)", name);
    for (const char* const nothing : {"null", "\"\"", "[]", "{}", R"({"a":null,"b":[],"c":false})"}) {
      CHECK(parse_completion_request(with(kPrompt, key + nothing), small_limits()).ok());
      CHECK(parse_chat_request(with(kMessages, key + nothing), small_limits()).ok());
    }
    for (const char* const something : {"\"x\"", "[1]", R"({"a":{"b":1}})", "3", "true"}) {
      const auto refused = parse_completion_request(with(kPrompt, key + something), small_limits());
      REQUIRE_FALSE(refused.ok());
      CHECK(refused.error().param == name);
      CHECK(refused.error().code == "not_supported");
      CHECK_FALSE(parse_chat_request(with(kMessages, key + something), small_limits()).ok());
    }
  }
  for (const char* const fields : {R"("function_call":"none")", R"("function_call":"auto")", R"("function_call":null)",
                                   R"("modalities":["text"])", R"("modalities":null)", R"("use_beam_search":false)"}) {
    CHECK(parse_chat_request(with(kMessages, fields), small_limits()).ok());
  }
  CHECK_FALSE(parse_chat_request(with(kMessages, R"("function_call":{"name":"f"})"), small_limits()).ok());
}

TEST_CASE("tool_choice none hides the tools; top_logprobs 0 without logprobs means none") {
  const auto parsed = parse_chat_request(
      with(kMessages, R"("tools":[{"function":{"name":"f"}}],"tool_choice":"none","top_logprobs":0)"), small_limits());
  REQUIRE(parsed.ok());
  CHECK(parsed.value().chat.tools == nullptr);
  CHECK_FALSE(parsed.value().top_logprobs.has_value());
}

TEST_CASE("tokenize and detokenize requests") {
  const auto text =
      parse_tokenize_request(R"({"prompt":"a","add_special_tokens":false,"return_token_strs":true})", small_limits());
  REQUIRE(text.ok());
  CHECK(text.value().prompt == "a");
  CHECK(text.value().add_special_tokens == false);
  CHECK(text.value().return_token_strs);
  const auto chat = parse_tokenize_request(with(kMessages, ""), small_limits());
  REQUIRE(chat.ok());
  CHECK(chat.value().is_chat);
  CHECK_FALSE(parse_tokenize_request("{}", small_limits()).ok());
  CHECK_FALSE(parse_tokenize_request("3", small_limits()).ok());
  CHECK_FALSE(parse_tokenize_request(R"({"prompt":["a"]})", small_limits()).ok());
  const auto tokens = parse_detokenize_request(R"({"tokens":[0,99]})", small_limits());
  REQUIRE(tokens.ok());
  CHECK(tokens.value().tokens == std::vector<TokenId>{0, 99});
  for (const char* const body : {"{}", R"({"tokens":[100]})", R"({"tokens":[-1]})", R"({"tokens":"a"})", "[]",
                                 R"({"tokens":[1.5]})", R"({"tokens":[1],"skip_special_tokens":0})"}) {
    INFO(body);
    CHECK_FALSE(parse_detokenize_request(body, small_limits()).ok());
  }
}

TEST_CASE("text that cannot fit is refused by its length alone") {
  RequestLimits limits = small_limits();
  limits.token_bytes_max = 10;
  CHECK_FALSE(check_prompt_bytes("prompt", 10'000, limits).has_value());
  const MaybeError error = check_prompt_bytes("prompt", 10'001, limits);
  REQUIRE(error.has_value());
  CHECK(error->code == "context_length_exceeded");
  limits.token_bytes_max = 0;
  CHECK_FALSE(check_prompt_bytes("prompt", 1'000'000, limits).has_value());
}

TEST_CASE("numbers that JSON cannot spell are refused too: other front ends can") {
  GenerationRequest request;
  request.prompts.emplace_back("a");
  request.sampling.temperature = std::numeric_limits<double>::quiet_NaN();
  const MaybeError error = validate(request, small_limits());
  REQUIRE(error.has_value());
  CHECK(error->param == "temperature");
}

TEST_CASE("all text of a request together is bounded, whatever field it comes in") {
  RequestLimits limits = small_limits();
  limits.text_bytes_max = 40;
  const std::string twenty(20, 'x');
  const auto status = [&](const auto& parsed) { return parsed.ok() ? 200 : parsed.error().status; };
  const auto completion = [&](const std::string& body) { return status(parse_completion_request(body, limits)); };
  CHECK(completion(R"({"prompt":")" + twenty + R"("})") == 200);
  CHECK(completion(R"({"prompt":[")" + twenty + R"(",")" + twenty + R"("]})") == 200);
  CHECK(completion(R"({"prompt":[")" + twenty + R"(",")" + twenty + R"(","x"]})") == 413);
  CHECK(completion(R"({"prompt":"x)" + twenty + twenty + R"("})") == 400);  // of the context
  CHECK(completion(R"({"prompt":")" + twenty + R"(","prediction":{"type":"content","content":"x)" + twenty +
                   R"("}})") == 413);
  limits.text_bytes_max = 200;
  const auto chat = [&](const std::string& rest) {
    return status(parse_chat_request(R"({"messages":[{"role":"user","content":"x"}])" + rest + "}", limits));
  };
  const std::string long_text(200, 'x');
  CHECK(chat("") == 200);
  CHECK(chat(R"(,"chat_template_kwargs":{"a":")" + long_text + R"("})") == 413);
  CHECK(chat(R"(,"chat_template_kwargs":{"a":[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9]})") == 413);
  CHECK(chat(R"(,"tools":[{"type":"function","function":{"name":"f","description":")" + long_text + R"("}}])") == 413);
  CHECK(status(parse_tokenize_request(R"({"prompt":"x)" + long_text + R"("})", limits)) == 413);
}

}  // namespace
}  // namespace coppice::openai
