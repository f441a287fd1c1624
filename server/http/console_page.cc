// The front page: static except the model's name and the host.
#include "server/http/console_page.h"

#include <fmt/format.h>

namespace coppice::server {
namespace {

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

constexpr const char* kPage = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Coppice</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem; }}
code, pre {{ font-family: ui-monospace, monospace; background: #8881; border-radius: 4px; }}
code {{ padding: 0 .25em; }}
pre {{ padding: .8rem; overflow-x: auto; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181a; color: #ddd; }} a {{ color: #8bf; }} }}
</style>
</head>
<body>
<h1>Coppice</h1>
<p>This server answers for the model <code>{0}</code> with OpenAI's HTTP API.</p>
<pre>curl {1}/v1/completions -H 'content-type: application/json' \
  -d '{{"prompt": "Once upon a time", "max_tokens": 64}}'</pre>
<ul>
<li><a href="/v1/models">/v1/models</a>: what is served; <code>POST /v1/completions</code>,
<code>POST /v1/chat/completions</code>: ask it</li>
<li><code>POST /tokenize</code>, <code>POST /detokenize</code></li>
<li><a href="/live">/live</a>, <a href="/health">/health</a>, <a href="/ready">/ready</a>,
<a href="/version">/version</a></li>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
</ul>
</body>
</html>
)html";

}  // namespace

std::string console_page(std::string_view model_name, std::string_view host) {
  return fmt::format(kPage, escape_html(model_name), escape_html(host));
}

}  // namespace coppice::server
