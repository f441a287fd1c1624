// Opening libcoppice_cuda.so.
#include "kernels/cuda/load.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "fmt/format.h"
#include "kernels/cuda/entry.h"

namespace coppice::kernels::cuda {

namespace {

// Returns the library's path; "" if there is none.
std::string find_library() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return "";
  }
  const std::filesystem::path folder = program.parent_path();
  for (const std::filesystem::path& place : {folder / kLibraryName, folder.parent_path() / "lib" / kLibraryName}) {
    if (std::filesystem::exists(place, error)) {
      return place.string();
    }
  }
  return "";
}

// Returns the linker's last error, in one line.
std::string linker_error() {
  const char* message = dlerror();
  return message == nullptr ? "unknown error" : message;
}

absl::StatusOr<CudaEntry> open_library(const std::string& library) {
  const std::string path = library.empty() ? find_library() : library;
  if (path.empty()) {
    return absl::UnimplementedError(
        fmt::format("no {} beside the program or in ../lib: built without the CUDA backend", kLibraryName));
  }
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(fmt::format("the CUDA backend cannot be loaded: {}", linker_error()));
  }
  auto* open = reinterpret_cast<OpenEntry*>(dlsym(handle, kEntryName));
  if (open == nullptr) {
    return absl::FailedPreconditionError(fmt::format("{} is no CUDA backend: {}", path, linker_error()));
  }
  const std::string identity = build_identity();
  CudaEntry entry;
  if (const char* other = open(identity.c_str(), &entry); other != nullptr) {
    return absl::FailedPreconditionError(
        fmt::format("{} is of another build ({}) than this program ({})", path, other, identity));
  }
  return entry;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> load_cuda_backend(const CudaOptions& options, const std::string& library) {
  COPPICE_ASSIGN_OR_RETURN(const CudaEntry entry, open_library(library));
  return entry.make_backend(options);
}

absl::StatusOr<MachineFigures> measure_cuda_machine(const CudaOptions& options, const std::string& library) {
  COPPICE_ASSIGN_OR_RETURN(const CudaEntry entry, open_library(library));
  return entry.measure(options);
}

}  // namespace coppice::kernels::cuda
