// Numbers with a unit.
#include "proto/openai/time_text.h"

#include <charconv>
#include <cstdint>

namespace coppice::openai {
namespace {

using std::chrono::seconds;

seconds unit_of(char letter) {
  switch (letter) {
    case 's':
      return seconds(1);
    case 'm':
      return std::chrono::minutes(1);
    case 'h':
      return std::chrono::hours(1);
    case 'd':
      return std::chrono::days(1);
    default:
      return seconds(0);
  }
}

}  // namespace

std::optional<seconds> parse_time(std::string_view text, seconds most) {
  std::int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [unit, problem] = std::from_chars(text.data(), end, number);
  if (problem != std::errc() || end - unit != 1 || number < 1 || number > most.count()) {
    return std::nullopt;
  }
  const seconds time = number * unit_of(*unit);
  return time.count() == 0 || time > most ? std::nullopt : std::optional(time);
}

}  // namespace coppice::openai
