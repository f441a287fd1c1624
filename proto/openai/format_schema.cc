// Forms, with the words that docs show.
#include "proto/openai/format_schema.h"

namespace coppice::openai {
namespace {

Schema json_schema() {
  return Schema::one_of("a JSON schema, or its JSON in a string",
                        {Schema::object({}), Schema::boolean(), Schema::string()})
      .named("JsonSchema");
}

SchemaMembers schema_members(const RequestLimits& limits) {
  return {required("schema", json_schema(), "What the output has to match."),
          optional("name", name_schema(limits), "For messages about it."), optional("description", Schema::string()),
          optional("strict", Schema::boolean(), "Refuses a schema with a keyword that is not enforced.")};
}

Schema type_alone(const char* type) {
  return Schema::object({optional("type", Schema::word({type}))});
}

Schema tag() {
  return Schema::one_of("a structural tag, or its JSON in a string", {Schema::object({}), Schema::string()});
}

}  // namespace

Schema response_format_schema(const RequestLimits& limits) {
  const Schema nested =
      Schema::object({required("type", Schema::word({"json_schema"})),
                      optional("json_schema", Schema::object(schema_members(limits)), "The schema and its name.")});
  return Schema::tagged("type",
                        {{"text", type_alone("text")},
                         {"json_object", type_alone("json_object")},
                         {"json_schema", nested},
                         {"structural_tag", Schema::object({required("type", Schema::word({"structural_tag"})),
                                                            optional("format", Schema::any())})}},
                        "text")
      .named("ResponseFormat");
}

Schema flat_format_schema(const RequestLimits& limits) {
  SchemaMembers members = {required("type", Schema::word({"json_schema"}))};
  append_members(members, schema_members(limits));
  return Schema::tagged("type", {{"text", type_alone("text")},
                                 {"json_object", type_alone("json_object")},
                                 {"json_schema", Schema::object(std::move(members))}})
      .named("OutputFormat");
}

SchemaMembers server_format_members() {
  const Schema choices = Schema::array(Schema::string(), 0, std::nullopt, "strings");
  const Schema structured =
      Schema::object({optional("json", json_schema()), optional("regex", Schema::string()), optional("choice", choices),
                      optional("grammar", Schema::string(), "In XGrammar's EBNF, with the rule `root`."),
                      optional("json_object", Schema::boolean()), optional("structural_tag", tag())});
  const char* const older = "An older name of a member of `structured_outputs`.";
  return {optional("structured_outputs", structured, "What the output has to match: one of the members."),
          optional("guided_json", json_schema(), older),
          optional("guided_regex", Schema::string(), older),
          optional("guided_choice", choices, older),
          optional("guided_grammar", Schema::string(), older),
          optional("guided_json_object", Schema::boolean(), older),
          optional("json_schema", json_schema(), "As `structured_outputs.json`."),
          optional("regex", Schema::string(), "As `structured_outputs.regex`."),
          optional("ebnf", Schema::string(), "As `structured_outputs.grammar`."),
          optional("grammar", Schema::string(), "As `structured_outputs.grammar`."),
          optional("structural_tag", tag(), "As `structured_outputs.structural_tag`.")};
}

}  // namespace coppice::openai
