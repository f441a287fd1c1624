// docs/api.md lists the routes, the fields of those whose bodies are checked by schemas, and the refusals, as the
// tables have them. After a change of the tables run this test with COPPICE_WRITE_DOCS=1 in the environment: it writes
// the page.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "server/http/openapi_document.h"
#include "server/http/routes/route_table.h"
#include "server/sessions/refusals.h"
#include "tests/support/doc_page.h"
#include "tests/support/source_folder.h"

namespace coppice::server {
namespace {

const std::string kPage = coppice::test::source_path("docs/api.md");

std::string routes_section(const openai::RequestLimits& limits) {
  std::string section = "\n| route | what | key |\n| --- | --- | --- |\n";
  for (const Route& route : all_routes()) {
    if (route.describe == nullptr) {  // it refuses every request
      continue;
    }
    section += fmt::format("| `{} {}` | {} | {} |\n", route.method, route.path, route.describe(limits).summary,
                           route.access == Access::kKey ? "yes" : "");
  }
  return section + "\n";
}

std::string refusals_section() {
  std::string section = "\n| status | when | gRPC |\n| --- | --- | --- |\n";
  for (const Refusal& refusal : refusals()) {
    section += fmt::format("| {} | {} | `{}` |\n", refusal.status, refusal.when, refusal.grpc_name);
  }
  return section + "\n";
}

std::string fields_section(std::string_view path, const openai::RequestLimits& limits) {
  std::string section = "\n| field | form | meaning |\n| --- | --- | --- |\n";
  for (const Route& route : all_routes()) {
    if (route.path != path) {
      continue;
    }
    const openai::Schema body = route.describe(limits).body.value();
    for (const openai::Schema::Member& member : body.members()) {
      section += fmt::format("| `{}`{} | {} | {} |\n", member.name, member.is_required ? "" : " (optional)",
                             member.schema.form(), member.meaning);
    }
  }
  return section + "\n";
}

TEST_CASE("docs/api.md lists the routes, their fields and the refusals of the tables") {
  openai::RequestLimits limits;  // of no model: only bounds that all have are written
  limits.vocab = 1;
  check_doc_section(kPage, "<!-- routes:", routes_section(limits));
  check_doc_section(kPage, "<!-- refusals:", refusals_section());
  check_doc_section(kPage, "<!-- fields of /v1/embeddings:", fields_section("/v1/embeddings", limits));
  check_doc_section(kPage, "<!-- fields of /v1/decisions:", fields_section("/v1/decisions", limits));
}

}  // namespace
}  // namespace coppice::server
