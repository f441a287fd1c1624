// Captured streams of the emulated CUDA runtime (fake_runtime.cc): while one is captured, launches and copies are noted
// down instead of done.
#pragma once

#include <functional>
#include <vector>

namespace coppice::simt {

// One launch, copy or fill; false: it had to be given up.
using Operation = std::function<bool()>;
using Recording = std::vector<Operation>;

// Where operations go now; null: they are done at once.
Recording* recording();
void set_recording(Recording* recording);

// Does it now, or notes it down. False: it was done and had to be given up.
bool do_or_record(Operation operation);

}  // namespace coppice::simt
