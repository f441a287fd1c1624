// The only code that knows the path: every other object of a build is the same in every checkout, so that a compiler
// cache serves them all.
#include "tests/support/source_folder.h"

namespace coppice::test {

std::string source_path(const std::string& file) {
  return std::string(COPPICE_SOURCE_DIR "/") + file;
}

}  // namespace coppice::test
