// Draws a load run as one picture: above, the cumulative distributions of the three times; below, each request's time
// to first token and its time for each token after that over the run, where failures and goals stand out.
#include <algorithm>
#include <functional>

#include "fmt/format.h"
#include "server/bench/load.h"
#include "server/bench/load_summary.h"

namespace coppice::server {
namespace {

constexpr double kHeight = 180;             // pixels of every panel
constexpr double kDistributionWidth = 260;  // pixels: three beside each other
constexpr double kTimesWidth = 415;         // pixels: two beside each other
constexpr std::size_t kPointsMax = 4000;    // of one panel: more make the file large and no clearer

void frame(std::string& svg, double left, double top, double width, const std::string& title) {
  svg += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", left, top - 10, title);
  svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>\n", left, top,
                     width, kHeight);
}

void distribution(std::string& svg, double left, const char* title, const std::vector<double>& sorted) {
  constexpr double kTop = 30;                // pixels
  constexpr std::size_t kCurvePoints = 400;  // more than the panel has pixels
  const double largest = sorted.empty() ? 1.0 : std::max(sorted.back(), 1e-6);
  frame(svg, left, kTop, kDistributionWidth, title);
  svg += fmt::format("<polyline fill=\"none\" stroke=\"#2a7\" stroke-width=\"2\" points=\"{},{}", left, kTop + kHeight);
  const std::size_t stride = std::max<std::size_t>(1, sorted.size() / kCurvePoints);
  for (std::size_t i = 0; i < sorted.size(); i += stride) {
    const double share = static_cast<double>(i + 1) / static_cast<double>(sorted.size());
    svg += fmt::format(" {:.1f},{:.1f}", left + kDistributionWidth * sorted[i] / largest, kTop + kHeight * (1 - share));
  }
  svg += "\"/>\n";
  svg += fmt::format("<text x=\"{}\" y=\"{}\">0</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1f} ms</text>\n",
                     left, kTop + kHeight + 16, left + kDistributionWidth, kTop + kHeight + 16, largest);
}

// A dot for each request at the moment it was due; those that failed stand red on the upper edge.
void over_time(std::string& svg, double left, const std::string& title, const LoadResult& result, double goal_ms,
               const std::function<double(const LoadOutcome&)>& value_ms) {
  constexpr double kTop = 280;  // pixels
  double largest = std::max(goal_ms, 1e-6);
  double span_s = 1e-6;
  for (const LoadOutcome& outcome : result.outcomes) {
    largest = std::max(largest, outcome.ok ? value_ms(outcome) : 0.0);
    span_s = std::max(span_s, outcome.start_s);
  }
  frame(svg, left, kTop, kTimesWidth, title);
  const std::size_t stride = std::max<std::size_t>(1, (result.outcomes.size() + kPointsMax - 1) / kPointsMax);
  for (std::size_t i = 0; i < result.outcomes.size(); i += stride) {
    const LoadOutcome& outcome = result.outcomes[i];
    const double height = outcome.ok ? value_ms(outcome) / largest : 1.0;
    svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2\" fill=\"{}\"/>\n",
                       left + kTimesWidth * outcome.start_s / span_s, kTop + kHeight * (1 - height),
                       outcome.ok ? "#2a7" : "#d22");
  }
  if (goal_ms > 0) {
    const double y = kTop + kHeight * (1 - goal_ms / largest);
    svg +=
        fmt::format("<line x1=\"{}\" y1=\"{:.1f}\" x2=\"{}\" y2=\"{:.1f}\" stroke=\"#d22\" stroke-dasharray=\"4\"/>\n",
                    left, y, left + kTimesWidth, y);
  }
  svg += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"#555\">{:.1f} ms</text>\n", left + 4, kTop + 14, largest);
  svg += fmt::format("<text x=\"{}\" y=\"{}\">0 s</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1f} s</text>\n",
                     left, kTop + kHeight + 16, left + kTimesWidth, kTop + kHeight + 16, span_s);
}

}  // namespace

std::string load_report_svg(const LoadOptions& options, const LoadResult& result) {
  const LoadSummary summary = summarise(options, result);
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"490\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"960\" height=\"490\" fill=\"white\"/>\n";
  distribution(svg, 30, "time to first token (share of requests)", summary.first_ms);
  distribution(svg, 340, "between tokens (share of gaps)", summary.gap_ms);
  distribution(svg, 650, "end to end (share of requests)", summary.whole_ms);
  over_time(svg, 30, "time to first token over the run", result, options.goal.ttft_ms,
            [](const LoadOutcome& outcome) { return outcome.first_text_s * 1e3; });
  over_time(svg, 495, "time for a token after the first over the run", result, options.goal.itl_ms, token_ms);
  svg += "</svg>\n";
  return svg;
}

}  // namespace coppice::server
