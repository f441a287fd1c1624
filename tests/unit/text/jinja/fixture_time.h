// The moment that the fixtures were rendered at: Wednesday 4 March 2026, 05:06:07. tools/make_template_fixtures.py
// gives Python the same.
#pragma once

#include <ctime>

namespace coppice::jinja {

inline std::tm fixture_time() {
  std::tm now{};
  now.tm_year = 2026 - 1900;
  now.tm_mon = 2;
  now.tm_mday = 4;
  now.tm_hour = 5;
  now.tm_min = 6;
  now.tm_sec = 7;
  now.tm_wday = 3;
  now.tm_yday = 62;
  return now;
}

}  // namespace coppice::jinja
