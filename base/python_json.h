// The JSON that Python's json module writes and no other parser reads: NaN, Infinity and -Infinity as numbers. Model
// folders are made by Python.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace coppice::base {

// `text` with each such number outside of strings replaced by null. `count` becomes how many there were. Linear; text
// that is not JSON comes back as something that is not JSON.
std::string without_python_numbers(std::string_view text, std::size_t& count);

}  // namespace coppice::base
