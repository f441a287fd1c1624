// Reports what a load run measured: a table for people, one JSON object for machines, a picture of the distributions.
#include <algorithm>
#include <array>
#include <cmath>

#include "fmt/format.h"
#include "nlohmann/json.hpp"
#include "server/bench/load.h"

namespace coppice::server {
namespace {

// The value below which `fraction` of the sorted samples lie (nearest rank); 0 when there are none.
double percentile(const std::vector<double>& sorted, double fraction) {
  if (sorted.empty()) {
    return 0;
  }
  const double rank = std::ceil(fraction * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(1.0, rank)) - 1];
}

struct Summary {
  std::vector<double> first_ms;  // sorted
  std::vector<double> gap_ms;
  std::vector<double> whole_ms;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t errors = 0;
  std::string first_error;
};

Summary summarise(const LoadResult& result) {
  Summary summary;
  for (const LoadOutcome& outcome : result.outcomes) {
    if (!outcome.ok) {
      ++summary.errors;
      if (summary.first_error.empty()) {
        summary.first_error = outcome.error;
      }
      continue;
    }
    if (outcome.first_text_s > 0) {
      summary.first_ms.push_back(outcome.first_text_s * 1e3);
    }
    for (const double gap_s : outcome.gaps_s) {
      summary.gap_ms.push_back(gap_s * 1e3);
    }
    summary.whole_ms.push_back(outcome.end_s * 1e3);
    summary.prompt_tokens += outcome.prompt_tokens;
    summary.cached_tokens += outcome.cached_tokens;
    summary.output_tokens += outcome.output_tokens;
  }
  std::sort(summary.first_ms.begin(), summary.first_ms.end());
  std::sort(summary.gap_ms.begin(), summary.gap_ms.end());
  std::sort(summary.whole_ms.begin(), summary.whole_ms.end());
  return summary;
}

constexpr std::array<std::pair<const char*, double>, 3> kPercentiles = {{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}}};

}  // namespace

std::string load_report_json(const LoadOptions& options, const LoadResult& result) {
  const Summary summary = summarise(result);
  nlohmann::ordered_json report;
  report["url"] = options.url;
  report["requests"] = result.outcomes.size();
  report["concurrency"] = options.concurrency;
  report["rate"] = options.rate;
  report["wall_s"] = result.wall_s;
  for (const auto& [name, fraction] : kPercentiles) {
    report[fmt::format("ttft_ms_{}", name)] = percentile(summary.first_ms, fraction);
    report[fmt::format("inter_token_ms_{}", name)] = percentile(summary.gap_ms, fraction);
    report[fmt::format("e2e_ms_{}", name)] = percentile(summary.whole_ms, fraction);
  }
  report["prompt_tokens"] = summary.prompt_tokens;
  report["cached_tokens"] = summary.cached_tokens;
  report["output_tokens"] = summary.output_tokens;
  report["output_tokens_per_s"] = static_cast<double>(summary.output_tokens) / result.wall_s;
  report["total_tokens_per_s"] = static_cast<double>(summary.output_tokens + summary.prompt_tokens) / result.wall_s;
  report["requests_per_s"] = static_cast<double>(summary.whole_ms.size()) / result.wall_s;
  report["errors"] = summary.errors;
  if (!summary.first_error.empty()) {
    report["first_error"] = summary.first_error;
  }
  return report.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string load_report_table(const LoadOptions& options, const LoadResult& result) {
  const Summary summary = summarise(result);
  std::string table = fmt::format("{}  {} requests in {:.2f} s, {} errors\n\n", options.url, result.outcomes.size(),
                                  result.wall_s, summary.errors);
  if (!summary.first_error.empty()) {
    table += fmt::format("first error: {}\n\n", summary.first_error);
  }
  table += fmt::format("{:<24}{:>12}{:>12}{:>12}\n", "milliseconds", "p50", "p90", "p99");
  const auto row = [&table](const char* name, const std::vector<double>& sorted) {
    table += fmt::format("{:<24}", name);
    for (const auto& [label, fraction] : kPercentiles) {
      table += fmt::format("{:>12.2f}", percentile(sorted, fraction));
    }
    table += '\n';
  };
  row("time to first token", summary.first_ms);
  row("between tokens", summary.gap_ms);
  row("end to end", summary.whole_ms);
  const double wall_s = std::max(result.wall_s, 1e-9);
  table += fmt::format(
      "\noutput tokens/s {:.1f}   total tokens/s {:.1f}   requests/s {:.2f}   prompt tokens cached {:.1f} %\n",
      static_cast<double>(summary.output_tokens) / wall_s,
      static_cast<double>(summary.output_tokens + summary.prompt_tokens) / wall_s,
      static_cast<double>(summary.whole_ms.size()) / wall_s,
      summary.prompt_tokens > 0
          ? 100.0 * static_cast<double>(summary.cached_tokens) / static_cast<double>(summary.prompt_tokens)
          : 0.0);
  return table;
}

std::string load_report_svg(const LoadResult& result) {
  const Summary summary = summarise(result);
  static constexpr double kWidth = 260;   // pixels of one distribution
  static constexpr double kHeight = 180;  // likewise
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"260\" font-family=\"sans-serif\" "
      "font-size=\"12\">\n<rect width=\"960\" height=\"260\" fill=\"white\"/>\n";
  const auto panel = [&svg](double left, const char* title, const std::vector<double>& sorted) {
    const double largest = sorted.empty() ? 1.0 : std::max(sorted.back(), 1e-6);
    svg += fmt::format("<text x=\"{}\" y=\"20\">{}</text>\n", left, title);
    svg += fmt::format("<rect x=\"{}\" y=\"30\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#999\"/>\n", left,
                       kWidth, kHeight);
    svg += fmt::format("<polyline fill=\"none\" stroke=\"#2a7\" stroke-width=\"2\" points=\"{},{}", left, 30 + kHeight);
    const std::size_t stride = std::max<std::size_t>(1, sorted.size() / 400);
    for (std::size_t i = 0; i < sorted.size(); i += stride) {
      const double share = static_cast<double>(i + 1) / static_cast<double>(sorted.size());
      svg += fmt::format(" {:.1f},{:.1f}", left + kWidth * sorted[i] / largest, 30 + kHeight * (1 - share));
    }
    svg += "\"/>\n";
    svg += fmt::format("<text x=\"{}\" y=\"{}\">0</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1f} ms</text>\n",
                       left, 46 + kHeight, left + kWidth, 46 + kHeight, largest);
  };
  panel(30, "time to first token (share of requests)", summary.first_ms);
  panel(340, "between tokens (share of gaps)", summary.gap_ms);
  panel(650, "end to end (share of requests)", summary.whole_ms);
  svg += "</svg>\n";
  return svg;
}

}  // namespace coppice::server
