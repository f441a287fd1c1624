// Tables behind unicode.h: classes of characters as sorted runs, and case mappings as ranges plus special cases.
// Generated data; the readers are in unicode.cc.
#pragma once

#include <array>
#include <cstdint>

namespace coppice::text::unicode_tables {

// Bits of a class run.
inline constexpr std::uint32_t kAlpha = 1, kDecimal = 2, kDigit = 4, kNumeric = 8, kPrintable = 16, kLower = 32,
                               kUpper = 64, kTitle = 128;

// Characters first, first + stride, ... last map to themselves + delta.
struct CaseRange {
  std::uint32_t first, last, stride;
  std::int32_t delta;
};
// One character that maps to two or three (0: no more).
struct CaseSpecial {
  std::uint32_t code;
  std::array<std::uint32_t, 3> image;
};

// Each run is first code point << 8 | bits, and lasts until the next.
extern const std::array<std::uint32_t, 3400> kClassRuns;
extern const std::array<CaseRange, 194> kUpperRanges;
extern const std::array<CaseSpecial, 102> kUpperSpecials;
extern const std::array<CaseRange, 181> kLowerRanges;
extern const std::array<CaseSpecial, 1> kLowerSpecials;
// Where the title case is not the upper case.
extern const std::array<CaseRange, 26> kTitleRanges;
extern const std::array<CaseSpecial, 23> kTitleSpecials;

}  // namespace coppice::text::unicode_tables
