// All routes in one array.
#include "server/http/routes/route_table.h"

#include <vector>

namespace coppice::server {

std::span<const Route> all_routes() {
  static const std::vector<Route> table = [] {
    std::vector<Route> routes;
    for (const std::span<const Route> part :
         {completion_routes(), responses_routes(), message_routes(), reading_routes(), model_routes(), text_routes(),
          corpus_routes(), file_routes(), batch_routes(), server_routes(), fleet_routes(), document_routes(),
          view_routes(), console_routes()}) {
      routes.insert(routes.end(), part.begin(), part.end());
    }
    return routes;
  }();
  return table;
}

}  // namespace coppice::server
