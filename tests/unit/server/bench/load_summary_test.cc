// Goals are read, kept and missed; reports carry what they say.
#include "server/bench/load_summary.h"

#include <catch2/catch.hpp>

#include "nlohmann/json.hpp"

namespace coppice::server {
namespace {

LoadOutcome answered(double first_s, std::vector<double> gaps_s, std::int64_t output_tokens) {
  LoadOutcome outcome;
  outcome.ok = true;
  outcome.status = 200;
  outcome.first_text_s = first_s;
  outcome.end_s = first_s + 1;
  outcome.gaps_s = std::move(gaps_s);
  outcome.output_tokens = output_tokens;
  return outcome;
}

TEST_CASE("a latency goal is one or two numbers") {
  auto goal = parse_latency_goal("ttft=500,itl=2.5");
  REQUIRE(goal.ok());
  CHECK(goal->ttft_ms == 500);
  CHECK(goal->itl_ms == 2.5);
  goal = parse_latency_goal("itl=7");
  REQUIRE(goal.ok());
  CHECK(goal->ttft_ms == 0);
  for (const char* bad : {"", ",", "ttft", "ttft=", "ttft=x", "ttft=0", "ttft=-1", "ttft=nan", "ttft=inf", "ttft=1e10",
                          "ttft=1,ttft=2", "e2e=1", "ttft=1,", "ttft=1 ", "=1"}) {
    CAPTURE(bad);
    CHECK(parse_latency_goal(bad).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("a request keeps the goal when both times are within it") {
  const LatencyGoal goal{100, 10};
  CHECK(keeps(goal, answered(0.1, {0.005, 0.015}, 3)));
  CHECK_FALSE(keeps(goal, answered(0.101, {0.005}, 2)));
  CHECK_FALSE(keeps(goal, answered(0.05, {0.02}, 2)));
  CHECK(keeps(goal, answered(0.05, {0.02}, 3)));        // two tokens in one event
  CHECK_FALSE(keeps(goal, answered(0.05, {0.02}, 0)));  // a server that reports no usage
  CHECK(keeps({100, 0}, answered(0.05, {9.0}, 2)));
  CHECK(keeps({0, 10}, answered(9, {0.01}, 2)));
  CHECK_FALSE(keeps(goal, answered(0, {}, 1)));  // no text at all: its end counts
  LoadOutcome failed = answered(0.01, {}, 1);
  failed.ok = false;
  CHECK_FALSE(keeps(goal, failed));
}

TEST_CASE("goodput counts failures as missed, and stands in the report only with a goal") {
  LoadOptions options;
  options.trace.path = "t.csv";
  options.trace.speed = 3;
  LoadResult result;
  result.wall_s = 2;
  result.sessions = 5;
  result.outcomes = {answered(0.05, {}, 1), answered(0.2, {}, 1), answered(0.05, {}, 1), LoadOutcome()};
  result.outcomes[3].error = "refused";
  auto report = nlohmann::json::parse(load_report_json(options, result));
  CHECK_FALSE(report.contains("goodput_share"));
  CHECK(report["trace"] == nlohmann::json({{"file", "t.csv"}, {"speed", 3}, {"sessions", 5}}));
  CHECK(report["errors"] == 1);
  options.goal.ttft_ms = 100;
  report = nlohmann::json::parse(load_report_json(options, result));
  CHECK(report["goodput_requests_per_s"] == 1.0);
  CHECK(report["goodput_share"] == 0.5);
  CHECK(load_report_table(options, result).find("goodput 1.00 requests/s, 50.0 % of all") != std::string::npos);
}

TEST_CASE("the picture has a dot for each request, red where it failed, and the goals' lines") {
  LoadOptions options;
  options.goal = {100, 10};
  LoadResult result;
  result.outcomes = {answered(0.05, {0.01}, 2), answered(0.2, {0.01}, 2), LoadOutcome()};
  result.outcomes[1].start_s = 1;
  const std::string svg = load_report_svg(options, result);
  const auto count = [&svg](const std::string& part) {
    std::size_t found = 0;
    for (std::size_t at = svg.find(part); at != std::string::npos; at = svg.find(part, at + 1)) {
      ++found;
    }
    return found;
  };
  CHECK(count("<circle") == 6);
  CHECK(count("r=\"2\" fill=\"#d22\"") == 2);
  CHECK(count("stroke-dasharray") == 2);
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(load_report_svg(options, LoadResult()).find("nan") == std::string::npos);
}

}  // namespace
}  // namespace coppice::server
