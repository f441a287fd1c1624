// The page at "/": what this server is and which routes it has.
#pragma once

#include <string>
#include <string_view>

namespace coppice::server {

// A complete HTML document. `host` is what the browser calls this server ("127.0.0.1:8080"); any text is safe.
std::string console_page(std::string_view model_name, std::string_view host);

}  // namespace coppice::server
