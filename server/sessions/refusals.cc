// The table. Codes of gRPC are numbers here: this library does not know gRPC's.
#include "server/sessions/refusals.h"

namespace coppice::server {
namespace {

constexpr Refusal kRefusals[] = {
    {400, "a field is wrong, or prompt and answer do not fit the context", "INVALID_ARGUMENT", 3},
    {401, "the key is missing or unknown", "UNAUTHENTICATED", 16},
    {403, "the request comes from a page or for a host that the server does not know", "PERMISSION_DENIED", 7},
    {404, "another model's name, or a thing that does not exist", "NOT_FOUND", 5},
    {405, "the path takes other methods; the header `allow` says which", "UNIMPLEMENTED", 12},
    {408, "the answer took longer than the request's own deadline or `--request-timeout`", "DEADLINE_EXCEEDED", 4},
    {413, "the body is too large", "INVALID_ARGUMENT", 3},
    {415, "the body is not said to be JSON (of uploads: a form)", "INVALID_ARGUMENT", 3},
    {429, "there is too much work (code `queue_full`, `kv_full`, `deadline_unreachable` or `memory_full`, below)",
     "RESOURCE_EXHAUSTED", 8},
    {500, "the model's numbers broke down in this answer (code `broken_model`), or a bug", "INTERNAL", 13},
    {501, "the served model cannot do it", "UNIMPLEMENTED", 12},
    {503, "the server starts or drains (code `starting` or `draining`), or is beyond `--max-connections`",
     "UNAVAILABLE", 14},
    {507, "the disk with the files is full", "RESOURCE_EXHAUSTED", 8},
};

}  // namespace

std::span<const Refusal> refusals() {
  return kRefusals;
}

}  // namespace coppice::server
