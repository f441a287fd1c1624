// Opening the CUDA backend where there is none, where it is of another build, and on whatever machine this is.
#include "kernels/cuda/load.h"

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "kernels/cuda/entry.h"

namespace coppice::kernels::cuda {
namespace {

std::string message_of(const BackendResult& result) {
  return std::string(result.status().message());
}

TEST_CASE("a program without the library says that it was built without CUDA") {
  // No library stands beside this test.
  const BackendResult result = load_cuda_backend({});
  CHECK(result.status().code() == absl::StatusCode::kUnimplemented);
  CHECK(message_of(result).find("built without the CUDA backend") != std::string::npos);
}

TEST_CASE("what is no CUDA backend is refused") {
  const BackendResult missing = load_cuda_backend({}, "/nowhere/libcoppice_cuda.so");
  CHECK(missing.status().code() == absl::StatusCode::kFailedPrecondition);
  const BackendResult stranger = load_cuda_backend({}, "libm.so.6");
  CHECK(stranger.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(message_of(stranger).find("no CUDA backend") != std::string::npos);
  for (const BackendResult* result : {&missing, &stranger}) {
    CHECK(message_of(*result).find('\n') == std::string::npos);
  }
}

#ifdef COPPICE_CUDA_LIBRARY
TEST_CASE("the library opens on any machine and says in one line why it has no GPU") {
  const BackendResult result = load_cuda_backend({}, COPPICE_CUDA_LIBRARY);
  if (result.ok()) {
    CHECK((*result)->device().name() == "cuda");
    return;
  }
  INFO(message_of(result));
  CHECK(result.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK(message_of(result).starts_with("no usable GPU: "));
  CHECK(message_of(result).find('\n') == std::string::npos);
}

TEST_CASE("a library of another build touches nothing and names itself") {
  void* library = dlopen(COPPICE_CUDA_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  auto* open = reinterpret_cast<OpenEntry*>(dlsym(library, kEntryName));
  REQUIRE(open != nullptr);
  CudaEntry entry;
  const char* own = open("another build", &entry);
  REQUIRE(own != nullptr);
  CHECK(build_identity() == own);
  CHECK(entry.make_backend == nullptr);
  CHECK(open(own, &entry) == nullptr);
  CHECK(entry.make_backend != nullptr);
  CHECK(entry.measure != nullptr);
}
#endif

}  // namespace
}  // namespace coppice::kernels::cuda
