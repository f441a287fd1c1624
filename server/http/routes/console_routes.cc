// GET / and /console/FILE: the console page. It loads nothing from elsewhere; what it shows comes from other routes.
#include <algorithm>

#include "server/http/console/console_files.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

// The page runs this server's own scripts and talks to this server alone, and no page has a reason to frame it.
constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

std::string content_type(std::string_view name) {
  return name.ends_with(".js")    ? "text/javascript; charset=utf-8"
         : name.ends_with(".css") ? "text/css; charset=utf-8"
                                  : "text/html; charset=utf-8";
}

std::unique_ptr<RequestHandler> send(ServerState& state, const CallPointer& call, std::string_view name) {
  const std::span<const ConsoleFile> files = console_files();
  const auto file =
      std::find_if(files.begin(), files.end(), [name](const ConsoleFile& each) { return each.name == name; });
  if (file == files.end()) {
    answer(state, *call, openai::not_found("", "unknown_route", "the console has no such file"));
    return nullptr;
  }
  call->exchange.add_header("content-security-policy", kPolicy);
  call->exchange.add_header("x-frame-options", "DENY");
  call->exchange.add_header("x-content-type-options", "nosniff");
  call->exchange.add_header("cache-control", "no-cache");  // a new version of the server has new files
  answer(state, *call, std::string(file->contents), content_type(name));
  return nullptr;
}

std::unique_ptr<RequestHandler> page(ServerState& state, const CallPointer& call) {
  return send(state, call, "index.html");
}

std::unique_ptr<RequestHandler> file(ServerState& state, const CallPointer& call) {
  return send(state, call, call->parts[0]);
}

Operation describe_page(const openai::RequestLimits& /*limits*/) {
  return {.name = "getConsole",
          .summary = "The console page.",
          .answer = openai::Schema::string(1),
          .content_types = {"text/html"}};
}

Operation describe_file(const openai::RequestLimits& /*limits*/) {
  return {.name = "getConsoleFile",
          .summary = "A file of the console page.",
          .answer = openai::Schema::string(1),
          .content_types = {"text/html", "text/javascript", "text/css"}};
}

constexpr Route public_route(std::string_view path, Route::Action action, Describe describe) {
  return {.method = "GET",
          .path = path,
          .action = action,
          .access = Access::kPublic,
          .availability = Availability::kAlways,
          .describe = describe};
}

constexpr Route kRoutes[] = {
    public_route("/", &page, &describe_page),
    public_route("/console/{file}", &file, &describe_file),
};

}  // namespace

std::span<const Route> console_routes() {
  return kRoutes;
}

}  // namespace coppice::server
