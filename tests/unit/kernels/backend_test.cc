// The CPU backend as an object: options, memory, the contract checks of backend.cc, the machine's figures.
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>

#include "base/cpu_info.h"
#include "kernel_support.h"
#include "kernels/cpu/machine.h"

namespace coppice::kernels::test {
namespace {

// Whether `call` ends the program, tried in a child. The child makes its own backend: an OpenMP team does not survive
// a fork.
bool aborts(const std::function<void(Backend&)>& call) {
  const pid_t child = fork();
  if (child == 0) {
    static_cast<void>(freopen("/dev/null", "w", stderr));
    signal(SIGABRT, SIG_DFL);
    call(*make_backend(1));
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

TEST_CASE("a broken contract stops the program, a kept one does not", "[backend]") {
  Tensor a = random_tensor(ComputeType::kF32, 4, 8, 1);
  Tensor b(ComputeType::kF32, 4, 8);
  Tensor narrow(ComputeType::kF32, 4, 7);
  Tensor half(ComputeType::kF16, 4, 8);
  const std::vector<float> weight(8, 1.0F);
  const std::vector<std::int32_t> rows = {0, 1, 2, 3};
  const std::vector<std::int32_t> few = {0, 1};
  const auto call = [&](auto&& work) { return aborts(work); };
  CHECK_FALSE(
      call([&](Backend& backend) { backend.operations().rms_norm(a.matrix(), weight.data(), 1e-5F, b.matrix()); }));
  CHECK(call(
      [&](Backend& backend) { backend.operations().rms_norm(a.matrix(), weight.data(), 1e-5F, narrow.matrix()); }));
  CHECK(call([&](Backend& backend) { backend.operations().rms_norm(a.matrix(), nullptr, 1e-5F, b.matrix()); }));
  CHECK(
      call([&](Backend& backend) { backend.operations().rms_norm(a.matrix(), weight.data(), 1e-5F, half.matrix()); }));
  CHECK(call([&](Backend& backend) { backend.operations().swiglu(a.matrix(), b.matrix()); }));
  CHECK(call([&](Backend& backend) { backend.operations().gather_rows(a.matrix(), few, b.matrix()); }));
  CHECK_FALSE(call([&](Backend& backend) { backend.operations().gather_rows(a.matrix(), rows, b.matrix()); }));
  CHECK(call([&](Backend& backend) { backend.operations().embed(few, table_of(a.matrix()), b.matrix()); }));
  const HostWeight part = a.host();
  const auto linear = [&](const Matrix& in, const Matrix& out, LinearEpilogue epilogue) {
    return call([&](Backend& backend) {
      const auto packed = backend.device().pack_linear({&part, 1}, {}, dense_packing(ComputeType::kF32));
      backend.operations().linear(in, **packed, epilogue, out);
    });
  };
  Tensor four(ComputeType::kF32, 4, 4);
  Tensor four_bf16(ComputeType::kBF16, 4, 4);
  Tensor in_bf16(ComputeType::kBF16, 4, 8);
  CHECK_FALSE(linear(b.matrix(), four.matrix(), LinearEpilogue::kAdd));
  CHECK(linear(narrow.matrix(), four.matrix(), LinearEpilogue::kStore));
  CHECK(linear(b.matrix(), b.matrix(), LinearEpilogue::kStore));
  CHECK(linear(b.matrix(), four_bf16.matrix(), LinearEpilogue::kStore));
  CHECK(linear(in_bf16.matrix(), four.matrix(), LinearEpilogue::kStore));
  CHECK(linear(b.matrix().first_rows(3), four.matrix(), LinearEpilogue::kStore));
}

TEST_CASE("options out of range are refused with a reason", "[backend]") {
  CHECK(cpu::make_cpu_backend({.threads = -1}).status().code() == absl::StatusCode::kInvalidArgument);
  CHECK(cpu::make_cpu_backend({.threads = 100000}).status().code() == absl::StatusCode::kInvalidArgument);
  const auto backend = make_backend(0);
  REQUIRE(backend);
  const auto cache =
      backend->device().make_kv_cache({.layers = 1, .key_heads = 1, .head_dim = 64, .pages = 1, .format = {}});
  REQUIRE(cache.ok());
  CHECK((*cache)->workers() == base::available_cores());
  CHECK(backend->device().supports(dense_packing(ComputeType::kF32)) == Support::kFull);
  CHECK(backend->device().supports(dense_packing(ComputeType::kF16)) == Support::kNone);
  CHECK(backend->device().supports({ComputeType::kF32, dense_format(ComputeType::kBF16)}) == Support::kNone);
  CHECK(backend->device().description().find(cpu::isa_name(cpu::best_isa())) != std::string::npos);
}

TEST_CASE("memory comes zeroed and aligned, and too much is refused", "[backend]") {
  const auto backend = make_backend(2);
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{100}, std::size_t{5} << 20}) {
    auto buffer = backend->device().allocate(bytes);
    REQUIRE(buffer.ok());
    CHECK(buffer->bytes() == bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(buffer->data()) % 64 == 0);
    const auto* data = static_cast<const unsigned char*>(buffer->data());
    CHECK(std::all_of(data, data + bytes, [](unsigned char byte) { return byte == 0; }));
    std::memset(buffer->data(), 0xFF, bytes);  // the next one must be zeroed again
  }
  CHECK(backend->device().allocate(0).ok());
  const auto available = static_cast<std::size_t>(base::available_memory_bytes());
  const auto refused = backend->device().allocate(available + (std::size_t{1} << 30));
  CHECK(refused.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(backend->device().allocate(SIZE_MAX).status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(backend->device().allocate(SIZE_MAX / 2).status().code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("the machine's figures hang together", "[backend]") {
  const auto figures = cpu::measure_machine({.threads = 2});
  REQUIRE(figures.ok());
  CHECK(figures->cores == 2);
  CHECK(figures->isa == cpu::isa_name(cpu::best_isa()));
  CHECK(figures->read_gb_per_s > 0.1);
  CHECK(figures->read_gb_per_s < 5000);
  CHECK(figures->copy_gb_per_s > 0.1);
  CHECK(figures->f32_gflops > 0.5);
  // Which of them is faster depends on the chip: bf16 instructions have half the rate of f32 ones on some.
  CHECK(figures->bf16_gflops > 0.5);
  CHECK(figures->int8_gops > 0.5);
}

}  // namespace
}  // namespace coppice::kernels::test
