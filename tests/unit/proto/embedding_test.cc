// Embeddings: bodies good and bad, vectors shaped, answers as the official client reads them.
#include "proto/openai/embedding.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/escaping.h"

namespace coppice::openai {
namespace {

RequestLimits small_limits() {
  RequestLimits limits;
  limits.vocab = 100;
  limits.model_tokens_max = 5;
  limits.inputs_max = 3;
  limits.name_bytes_max = 20;
  return limits;
}

struct Row {
  const char* body;
  const char* param;
  const char* message;  // part of it
};

TEST_CASE("inputs are text, texts, token ids or lists of them") {
  const auto inputs = [](const char* body) {
    Result<EmbeddingRequest> parsed = parse_embedding_request(body, small_limits());
    REQUIRE(parsed.ok());
    return parsed.value().inputs;
  };
  CHECK(inputs(R"({"input":"hi"})") == std::vector<Prompt>{"hi"});
  CHECK(inputs(R"({"input":["a","b"]})") == std::vector<Prompt>{"a", "b"});
  CHECK(inputs(R"({"input":[1,99]})") == std::vector<Prompt>{std::vector<TokenId>{1, 99}});
  CHECK(inputs(R"({"input":[[1],[2,3]]})") == std::vector<Prompt>{std::vector<TokenId>{1}, std::vector<TokenId>{2, 3}});
}

TEST_CASE("all fields of an embeddings request arrive") {
  const Result<EmbeddingRequest> parsed = parse_embedding_request(
      R"({"model":"m","input":"hi","encoding_format":"base64","dimensions":7,"pooling":"mean","normalize":false,
          "add_special_tokens":false,"priority":-2,"cache_salt":"s","user":"u","no_such_field":1})",
      small_limits());
  REQUIRE(parsed.ok());
  const EmbeddingRequest& request = parsed.value();
  CHECK(request.model == "m");
  CHECK(request.is_base64);
  CHECK(request.dimensions == 7);
  CHECK(request.pooling == Pooling::kMean);
  CHECK_FALSE(request.normalize);
  CHECK(request.add_special_tokens == false);
  CHECK(request.priority == -2);
  CHECK(request.cache_salt == "s");
  const EmbeddingRequest plain = parse_embedding_request(R"({"input":"hi","pooling":"last"})", small_limits()).value();
  CHECK(plain.pooling == Pooling::kLast);
  CHECK(plain.normalize);
  CHECK_FALSE(plain.is_base64);
  CHECK_FALSE(plain.dimensions.has_value());
}

TEST_CASE("bad bodies are refused by name") {
  const Row rows[] = {
      {"[]", "", "the request body must be an object"},
      {"{}", "input", "'input' is missing"},
      {R"({"input":null})", "input", "got null"},
      {R"({"input":""})", "input", "not empty"},
      {R"({"input":[]})", "input", "an array of 1 to 3 texts; got an empty array"},
      {R"({"input":["a",""]})", "input[1]", "not empty"},
      {R"({"input":["a","b","c","d"]})", "input", "an array of 1 to 3 texts; got an array of 4"},
      {R"({"input":["a",1]})", "input[1]", "a string that is not empty; got the number 1"},
      {R"({"input":[1,"a"]})", "input[1]", "an integer; got the string"},
      {R"({"input":[1.5]})", "input", "text, token ids"},
      {R"({"input":[100]})", "input[0]", "from 0 to 99; got 100"},
      {R"({"input":[-1]})", "input[0]", "from 0 to 99; got -1"},
      {R"({"input":[1,2,3,4,5,6]})", "input", "an array of 1 to 5 token ids; got an array of 6"},
      {R"({"input":[[1],[]]})", "input[1]", "an array of 1 to 5 token ids; got an empty array"},
      {R"({"input":[[1],[2],[3],[4]]})", "input", "got an array of 4"},
      {R"({"input":{"a":1}})", "input", "got an object"},
      {R"({"input":"a","encoding_format":"int8"})", "encoding_format", "\"float\" or \"base64\""},
      {R"({"input":"a","dimensions":0})", "dimensions", "got 0"},
      {R"({"input":"a","dimensions":1.5})", "dimensions", "an integer"},
      {R"({"input":"a","pooling":"cls"})", "pooling", "\"last\" or \"mean\""},
      {R"({"input":"a","normalize":"yes"})", "normalize", "true or false"},
      {R"({"input":"a","model":"012345678901234567890"})", "model", "0 to 20 characters"},
      {R"({"input":"a","priority":3000000000})", "priority", "got 3000000000"},
  };
  for (const Row& row : rows) {
    INFO(row.body);
    const Result<EmbeddingRequest> parsed = parse_embedding_request(row.body, small_limits());
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().status == 400);
    CHECK(parsed.error().param == row.param);
    CHECK_THAT(parsed.error().message, Catch::Contains(row.message));
  }
}

TEST_CASE("vectors are cut, then brought to length 1; zeros stay zeros") {
  CHECK(shape_embedding({3, 4}, std::nullopt, false) == std::vector<float>{3, 4});
  CHECK(shape_embedding({3, 4}, std::nullopt, true) == std::vector<float>{0.6F, 0.8F});
  CHECK(shape_embedding({3, 4, 100}, 2, true) == std::vector<float>{0.6F, 0.8F});
  CHECK(shape_embedding({0, 0}, std::nullopt, true) == std::vector<float>{0, 0});
  const std::vector<float> large = shape_embedding({3e38F, 3e38F}, std::nullopt, true);  // squares beyond float
  CHECK(large[0] == Approx(std::sqrt(0.5)));
}

TEST_CASE("an answer holds what its schema says, and every float to the bit") {
  const std::vector<std::vector<float>> vectors = {{0.1F, -1.17549435e-38F, 1e-45F}, {3.4028235e38F, 0, -0.25F}};
  AnswerUsage usage;
  usage.prompt_tokens = 9;
  usage.cached_tokens = 4;
  for (const bool is_base64 : {false, true}) {
    const std::string text = write_embeddings({is_base64, "m"}, vectors, usage);
    CHECK(text.size() <= embedding_answer_bytes(2, 3, is_base64) + 200);
    const Json answer = Json::parse(text);
    CHECK_FALSE(embedding_answer_schema().check(answer, "answer").has_value());
    CHECK(answer["model"] == "m");
    CHECK(answer["usage"]["prompt_tokens"] == 9);
    CHECK(answer["usage"]["total_tokens"] == 9);
    CHECK(answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 4);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      const Json& entry = answer["data"][i];
      CHECK(entry["index"] == i);
      std::vector<float> read;
      if (is_base64) {
        std::string bytes;
        REQUIRE(absl::Base64Unescape(entry["embedding"].get<std::string>(), &bytes));
        read.resize(bytes.size() / sizeof(float));
        std::memcpy(read.data(), bytes.data(), bytes.size());
      } else {
        for (const Json& number : entry["embedding"]) {
          read.push_back(static_cast<float>(number.get<double>()));
        }
      }
      CHECK(read == vectors[i]);
    }
  }
}

}  // namespace
}  // namespace coppice::openai
