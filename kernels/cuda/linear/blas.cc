// One product by cuBLASLt, whose shared object is opened when it is asked for: the bound that our own products are
// compared with.
#include <cublasLt.h>
#include <dlfcn.h>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "kernels/cuda/machine/machine.h"

namespace coppice::kernels::cuda {

namespace {

absl::Status check(cublasStatus_t status, const char* what) {
  return status == CUBLAS_STATUS_SUCCESS
             ? absl::OkStatus()
             : absl::InternalError(fmt::format("cuBLASLt {}: status {}", what, static_cast<int>(status)));
}

void* open_library() {
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "/usr/local/cuda/lib64/libcublasLt.so"}) {
    if (void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL); handle != nullptr) {
      return handle;
    }
  }
  return nullptr;
}

}  // namespace

struct BlasProduct::State {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtMatmulDescCreate) create_operation = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) set_operation = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) create_layout = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) create_preference = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) set_preference = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose = nullptr;
  decltype(&cublasLtMatmul) multiply = nullptr;

  // Live as long as the program; a benchmark makes one.
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;
  cublasLtMatmulPreference_t preference = nullptr;
  // The choice for a workspace of chosen_bytes: made once, since the GPU would wait for the host to make it.
  cublasLtMatmulHeuristicResult_t chosen{};
  std::size_t chosen_bytes = 0;
  bool has_chosen = false;

  absl::Status choose_for(std::size_t workspace_bytes);

  template <typename Function>
  bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
  }
  bool find_all(void* library) {
    return find(library, "cublasLtCreate", create) && find(library, "cublasLtMatmulDescCreate", create_operation) &&
           find(library, "cublasLtMatmulDescSetAttribute", set_operation) &&
           find(library, "cublasLtMatrixLayoutCreate", create_layout) &&
           find(library, "cublasLtMatmulPreferenceCreate", create_preference) &&
           find(library, "cublasLtMatmulPreferenceSetAttribute", set_preference) &&
           find(library, "cublasLtMatmulAlgoGetHeuristic", choose) && find(library, "cublasLtMatmul", multiply);
  }
};

absl::StatusOr<BlasProduct> BlasProduct::create(std::int64_t size) {
  void* library = open_library();
  auto state = std::make_shared<State>();
  if (library == nullptr || !state->find_all(library)) {
    return absl::NotFoundError("no cuBLASLt on this machine");
  }
  COPPICE_RETURN_IF_ERROR(check(state->create(&state->handle), "handle"));
  COPPICE_RETURN_IF_ERROR(
      check(state->create_operation(&state->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "operation"));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  COPPICE_RETURN_IF_ERROR(
      check(state->set_operation(state->operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed),
            "operation"));
  const auto side = static_cast<std::uint64_t>(size);
  COPPICE_RETURN_IF_ERROR(check(state->create_layout(&state->layout, CUDA_R_16BF, side, side, size), "layout"));
  COPPICE_RETURN_IF_ERROR(check(state->create_preference(&state->preference), "preference"));
  BlasProduct product;
  product.state_ = std::move(state);
  return product;
}

absl::Status BlasProduct::State::choose_for(std::size_t workspace_bytes) {
  if (has_chosen && chosen_bytes == workspace_bytes) {
    return absl::OkStatus();
  }
  COPPICE_RETURN_IF_ERROR(check(
      set_preference(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes),
      "workspace"));
  int found = 0;
  COPPICE_RETURN_IF_ERROR(
      check(choose(handle, operation, layout, layout, layout, layout, preference, 1, &chosen, &found), "choice"));
  if (found == 0) {
    return absl::InternalError("cuBLASLt has no kernel for this product");
  }
  chosen_bytes = workspace_bytes;
  has_chosen = true;
  return absl::OkStatus();
}

absl::Status BlasProduct::run(const void* a, const void* b, void* out, void* workspace, std::size_t workspace_bytes,
                              cudaStream_t stream) {
  State& state = *state_;
  COPPICE_RETURN_IF_ERROR(state.choose_for(workspace_bytes));
  const float one = 1.0F;
  const float zero = 0.0F;
  return check(state.multiply(state.handle, state.operation, &one, a, state.layout, b, state.layout, &zero, out,
                              state.layout, out, state.layout, &state.chosen.algo, workspace, workspace_bytes, stream),
               "product");
}

}  // namespace coppice::kernels::cuda
