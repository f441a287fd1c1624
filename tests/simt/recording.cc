// The one capture that may be under way.
#include "tests/simt/recording.h"

#include <utility>

namespace coppice::simt {
namespace {

Recording* under_way = nullptr;

}  // namespace

Recording* recording() {
  return under_way;
}

void set_recording(Recording* recording) {
  under_way = recording;
}

bool do_or_record(Operation operation) {
  if (under_way == nullptr) {
    return operation();
  }
  under_way->push_back(std::move(operation));
  return true;
}

}  // namespace coppice::simt
