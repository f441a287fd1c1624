// Where the checkout is that a test was built from, for the files that it reads.
#pragma once

#include <string>

namespace coppice::test {

// Returns the checkout's absolute path with `file`, relative to it, behind it.
std::string source_path(const std::string& file);

}  // namespace coppice::test
