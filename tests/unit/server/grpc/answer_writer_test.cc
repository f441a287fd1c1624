// Items to gRPC's messages.
#include "server/grpc/answer_writer.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace coppice::server {
namespace {

using openai::FinishReason;

openai::TokenEntry entry(TokenId token, std::string bytes) {
  openai::TokenEntry out;
  out.token = token;
  out.logprob = -0.5F;
  out.bytes = std::move(bytes);
  return out;
}

std::vector<TokenId> ids_of(const v1::GenerateResponse& response) {
  std::vector<TokenId> ids;
  for (const v1::Token& token : response.tokens()) {
    ids.push_back(token.token_id());
  }
  return ids;
}

TEST_CASE("text, token ids and the end of a choice") {
  const GrpcAnswerWriter writer(/*has_logprobs=*/false);
  const v1::GenerateResponse goes_on = writer.delta({2, {openai::TextDelta{"hi"}}, {4, 5}});
  CHECK(goes_on.choice() == 2);
  CHECK(goes_on.text() == "hi");
  CHECK(ids_of(goes_on) == std::vector<TokenId>{4, 5});
  CHECK_FALSE(goes_on.tokens(0).has_logprob());
  CHECK(goes_on.finish_reason() == v1::FINISH_REASON_UNSPECIFIED);
  const v1::GenerateResponse stop = writer.delta({0, {openai::Finish{FinishReason::kStop, {}, 1}}, {1}});
  CHECK(stop.finish_reason() == v1::FINISH_REASON_STOP);
  CHECK(ids_of(stop) == std::vector<TokenId>{1});
  CHECK(writer.delta({0, {openai::Finish{FinishReason::kLength}}, {}}).finish_reason() == v1::FINISH_REASON_LENGTH);
}

TEST_CASE("with logprobs every token is named once, the end token too") {
  openai::TextDelta text{"hi", {entry(4, "h"), entry(5, "i")}};
  text.tokens[0].top = {{7, -0.25F, "\xC3"}};
  const v1::GenerateResponse response =
      GrpcAnswerWriter(/*has_logprobs=*/true).delta({0, {text, openai::Finish{FinishReason::kStop, {}, 1}}, {}});
  CHECK(ids_of(response) == std::vector<TokenId>{4, 5, 1});
  CHECK(response.tokens(0).logprob() == -0.5F);
  CHECK(response.tokens(0).top(0).token_id() == 7);
  CHECK(response.tokens(0).top(0).text() == "\xEF\xBF\xBD");
  CHECK_FALSE(response.tokens(2).has_logprob());
}

TEST_CASE("tool calls with their id, name and arguments, and their reason") {
  const v1::GenerateResponse response =
      GrpcAnswerWriter(/*has_logprobs=*/true)
          .delta({0,
                  {openai::TextDelta{"Hm."}, openai::ToolCallBegin{0, "c0", "f", {entry(4, "{")}},
                   openai::ToolArgumentsDelta{0, R"({"x":)"}, openai::ToolArgumentsDelta{0, "1}"},
                   openai::ToolCallBegin{1, "c1", "g"}, openai::ToolArgumentsDelta{1, "{}"},
                   openai::Finish{FinishReason::kToolCalls}},
                  {}});
  CHECK(response.text() == "Hm.");
  REQUIRE(response.tool_calls_size() == 2);
  CHECK(response.tool_calls(0).index() == 0);
  CHECK(response.tool_calls(0).id() == "c0");
  CHECK(response.tool_calls(0).name() == "f");
  CHECK(response.tool_calls(0).arguments() == R"({"x":1})");
  CHECK(response.tool_calls(1).index() == 1);
  CHECK(response.tool_calls(1).name() == "g");
  CHECK(response.finish_reason() == v1::FINISH_REASON_TOOL_CALLS);
  CHECK(ids_of(response) == std::vector<TokenId>{4});
}

TEST_CASE("later pieces of a call name it by its index, reasoning has a field of its own") {
  const v1::GenerateResponse response =
      GrpcAnswerWriter(/*has_logprobs=*/false)
          .delta({0, {openai::ReasoningDelta{"so"}, openai::ToolArgumentsDelta{3, "}"}}, {}});
  CHECK(response.reasoning() == "so");
  CHECK(response.text().empty());
  REQUIRE(response.tool_calls_size() == 1);
  CHECK(response.tool_calls(0).index() == 3);
  CHECK(response.tool_calls(0).id().empty());
  CHECK(response.tool_calls(0).arguments() == "}");
}

TEST_CASE("the last message has the usage and the prompt's scores") {
  openai::Answer answer;
  answer.usage = {5, 3, 4, 2, 1, 6};
  answer.prompt_scores = {{entry(9, "a")}};
  const v1::GenerateResponse end = GrpcAnswerWriter(/*has_logprobs=*/false, /*has_usage=*/false, "flex").end(answer);
  CHECK(end.usage().prompt_tokens() == 5);
  CHECK(end.usage().completion_tokens() == 3);
  CHECK(end.usage().cached_tokens() == 4);
  CHECK(end.usage().cache_write_tokens() == 6);
  CHECK(end.service_tier() == "flex");
  CHECK(end.usage().accepted_prediction_tokens() == 2);
  CHECK(end.usage().rejected_prediction_tokens() == 1);
  CHECK(end.prompt_tokens(0).token_id() == 9);
}

}  // namespace
}  // namespace coppice::server
