// The bar, redrawn in place with a carriage return.
#include "server/app/progress_bar.h"

#include <unistd.h>

#include <cstdio>
#include <utility>

#include "fmt/format.h"

namespace coppice::server {
namespace {

constexpr std::size_t kWidth = 40;  // characters between the brackets: fits 80 columns beside a label

}  // namespace

ProgressBar::ProgressBar(std::string label) : label_(std::move(label)), is_terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (percent_ >= 0) {
    std::fputs("\r\033[K", stderr);
  }
}

void ProgressBar::update(std::size_t done, std::size_t total) {
  const int percent =
      total == 0 ? 100 : static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total));
  if (!is_terminal_ || percent == percent_) {
    return;
  }
  percent_ = percent;
  const std::size_t filled = kWidth * static_cast<std::size_t>(percent) / 100;
  const std::string line =
      fmt::format("\r{} [{}{}] {:3} %", label_, std::string(filled, '#'), std::string(kWidth - filled, ' '), percent);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

}  // namespace coppice::server
