// Paths, operations and components, in the order of the table.
#include "server/http/openapi_document.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "proto/anthropic/message_schema.h"
#include "proto/openai/api_error.h"
#include "proto/openai/json_writer.h"
#include "server/config/version.h"
#include "server/http/operation.h"
#include "server/http/route_call.h"
#include "server/sessions/refusals.h"

namespace coppice::server {
namespace {

using openai::JsonWriter;
using openai::Schema;

constexpr const char* kKeyScheme = "key";

Schema error_schema() {
  const Schema text_or_null = Schema::one_of("a string or null", {Schema::string(), Schema::null()});
  return Schema::object({openai::required("error", Schema::object({openai::required("message", Schema::string()),
                                                                   openai::required("type", Schema::string()),
                                                                   openai::required("param", text_or_null),
                                                                   openai::required("code", text_or_null)}))})
      .named("Error");
}

// A path of the table as OpenAPI writes it: "{name...}" is "{name}" there. Appends the names.
std::string public_path(std::string_view path, std::vector<std::string>& names) {
  std::string out;
  while (!path.empty()) {
    const std::size_t begin = path.find('{');
    out += path.substr(0, begin);
    if (begin == std::string_view::npos) {
      break;
    }
    const std::size_t end = path.find('}', begin);
    std::string name(path.substr(begin + 1, end - begin - 1));
    if (name.ends_with("...")) {
      name.resize(name.size() - std::string_view("...").size());
    }
    out += fmt::format("{{{}}}", name);
    names.push_back(std::move(name));
    path.remove_prefix(end + 1);
  }
  return out;
}

void write_content(std::string_view type, const Schema& schema, JsonWriter& out) {
  out.key(type).begin_object().key("schema");
  schema.write(out);
  out.end_object();
}

void write_parameter(std::string_view place, std::string_view name, const Schema& schema, std::string_view meaning,
                     JsonWriter& out) {
  out.begin_object().key("in").string(place).key("name").string(name);
  if (place == "path") {
    out.key("required").boolean(true);
  }
  if (!meaning.empty()) {
    out.key("description").string(meaning);
  }
  out.key("schema");
  schema.write(out);
  out.end_object();
}

// Of what a query or a header holds: an empty value is as good as none.
Schema or_empty(const Schema& schema) {
  return Schema::one_of("a value or nothing", {schema, Schema::string(0, 0)});
}

Schema error_schema_of(const Route& route) {
  return route.dialect == ErrorDialect::kAnthropic ? anthropic::error_schema() : error_schema();
}

// Each event is an object of the fields of server-sent events; its data is a JSON text, or the word that ends OpenAI's
// streams.
void write_events(const Schema& data, JsonWriter& out) {
  out.key("text/event-stream").begin_object().key("schema").begin_object().key("type").string("object");
  out.key("properties").begin_object();
  out.key("event").begin_object().key("type").string("string").end_object();
  out.key("data").begin_object().key("anyOf").begin_array();
  out.begin_object().key("const").string("[DONE]").end_object();
  out.begin_object().key("type").string("string").key("contentMediaType").string("application/json");
  data.write(out.key("contentSchema"));
  out.end_object().end_array().end_object().end_object().end_object().end_object();
}

void write_answers(const Operation& operation, const Schema& error, JsonWriter& out) {
  out.key("responses").begin_object();
  out.key("200").begin_object().key("description").string("The answer.").key("content").begin_object();
  for (const std::string_view type : operation.content_types) {
    write_content(type, operation.answer, out);
  }
  if (operation.event) {
    write_events(*operation.event, out);
  }
  out.end_object().end_object();
  for (const Refusal& refusal : refusals()) {
    out.key(fmt::format("{}", refusal.status)).begin_object().key("description").string(refusal.when);
    out.key("content").begin_object();
    write_content("application/json", error, out);
    out.end_object().end_object();
  }
  out.end_object();
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

void write_operation(const Route& route, const Operation& operation, std::span<const std::string> names, bool needs_key,
                     JsonWriter& out) {
  out.key(lower(route.method)).begin_object();
  out.key("operationId").string(operation.name).key("summary").string(operation.summary);
  if (!names.empty() || !operation.query.empty() || route.ends_by_deadline) {
    out.key("parameters").begin_array();
    for (const std::string& name : names) {
      write_parameter("path", name, Schema::string(1), "", out);
    }
    for (const QueryParameter& parameter : operation.query) {
      write_parameter("query", parameter.name, or_empty(parameter.schema), parameter.meaning, out);
    }
    if (route.ends_by_deadline) {
      write_parameter("header", kTimeoutHeader, or_empty(Schema::integer(1, kTimeoutMostMs)),
                      "Milliseconds that the client waits: then the request ends.", out);
    }
    out.end_array();
  }
  if (operation.body) {
    out.key("requestBody").begin_object().key("required").boolean(true).key("content").begin_object();
    write_content(operation.body_type, *operation.body, out);
    out.end_object().end_object();
  }
  if (needs_key && route.access == Access::kKey) {
    out.key("security").begin_array().begin_object().key(kKeyScheme).begin_array().end_array().end_object().end_array();
  }
  write_answers(operation, error_schema_of(route), out);
  out.end_object();
}

// The schemas with names, each once.
class Components {
 public:
  void add(const Schema& schema) {
    std::vector<Schema> found;
    schema.list_named(found);
    for (Schema& one : found) {
      std::string name = one.name();
      schemas_.emplace(std::move(name), std::move(one));
    }
  }

  void write(bool needs_key, JsonWriter& out) const {
    out.key("components").begin_object().key("schemas").begin_object();
    for (const auto& [name, schema] : schemas_) {
      schema.write(out.key(name), /*in_full=*/true);
    }
    out.end_object();
    if (needs_key) {
      out.key("securitySchemes").begin_object().key(kKeyScheme).begin_object();
      out.key("type").string("http").key("scheme").string("bearer").end_object().end_object();
    }
    out.end_object();
  }

 private:
  std::map<std::string, Schema> schemas_;
};

}  // namespace

std::string write_openapi(std::span<const Route> routes, const openai::RequestLimits& limits, bool needs_key) {
  JsonWriter out;
  out.begin_object().key("openapi").string(kOpenapiVersion);
  out.key("info").begin_object().key("title").string("Coppice").key("version").string(kVersion);
  out.key("description").string("An inference server with OpenAI's API. Bounds are those of the served model.");
  out.end_object().key("paths").begin_object();
  Components components;
  std::vector<std::string> written;
  for (const Route& first : routes) {
    std::vector<std::string> names;
    const std::string path = public_path(first.path, names);
    const bool is_new = std::find(written.begin(), written.end(), path) == written.end();
    if (first.describe == nullptr || !is_new) {
      continue;
    }
    written.push_back(path);
    out.key(path).begin_object();
    for (const Route& route : routes) {  // all methods of the path
      if (route.path != first.path || route.describe == nullptr) {
        continue;
      }
      const Operation operation = route.describe(limits);
      components.add(operation.answer);
      components.add(error_schema_of(route));
      for (const std::optional<Schema>& schema : {operation.body, operation.event}) {
        if (schema) {
          components.add(*schema);
        }
      }
      write_operation(route, operation, names, needs_key, out);
    }
    out.end_object();
  }
  out.end_object();
  components.write(needs_key, out);
  out.end_object();
  return out.take();
}

}  // namespace coppice::server
