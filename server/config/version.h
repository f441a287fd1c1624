// The version that --version, /version and the ready line report, set by the build from the project's version.
#pragma once

namespace coppice::server {

inline constexpr const char* kVersion = COPPICE_VERSION;

}  // namespace coppice::server
