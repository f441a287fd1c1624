// Each kind of item has its own names for the same steps.
#include "proto/openai/response_events.h"

namespace coppice::openai {
namespace {

struct EventNames {
  std::string_view delta;
  std::string_view done;
  std::string_view whole;  // the member of `done` that has all of the text
};

EventNames names_of(ResponseItem::Kind kind) {
  switch (kind) {
    case ResponseItem::Kind::kMessage:
      return {"response.output_text.delta", "response.output_text.done", "text"};
    case ResponseItem::Kind::kReasoning:
      return {"response.reasoning_text.delta", "response.reasoning_text.done", "text"};
    case ResponseItem::Kind::kCall:
      return {"response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments"};
  }
  return {};
}

// Messages and reasoning hold their text in a content part; a call is its arguments.
bool has_part(const ResponseItem& item) {
  return item.kind != ResponseItem::Kind::kCall;
}

}  // namespace

JsonWriter ResponseEvents::begin(std::string_view type) {
  JsonWriter json;
  json.begin_object().key("type").string(type).key("sequence_number").integer(sequence_++);
  return json;
}

JsonWriter ResponseEvents::begin_part(std::string_view type, std::int64_t index, const ResponseItem& item) {
  JsonWriter json = begin(type);
  json.key("item_id").string(item.id).key("output_index").integer(index);
  if (has_part(item)) {
    json.key("content_index").integer(0);
  }
  return json;
}

void ResponseEvents::end(std::string_view type, JsonWriter& json) {
  json.end_object();
  out_ += "event: ";
  out_ += type;
  out_ += "\ndata: ";
  out_ += json.take();
  out_ += "\n\n";
}

void ResponseEvents::response(std::string_view type, std::string_view object) {
  JsonWriter json = begin(type);
  json.key("response").raw(object);
  end(type, json);
}

void ResponseEvents::item_begins(std::int64_t index, const ResponseItem& item) {
  constexpr std::string_view kItem = "response.output_item.added";
  JsonWriter json = begin(kItem);
  json.key("output_index").integer(index);
  write_item(item, json.key("item"));
  end(kItem, json);
  if (has_part(item)) {
    constexpr std::string_view kPart = "response.content_part.added";
    JsonWriter part = begin_part(kPart, index, item);
    write_part(item, part.key("part"));
    end(kPart, part);
  }
}

void ResponseEvents::item_grows(std::int64_t index, const ResponseItem& item, std::string_view text,
                                std::string_view logprobs) {
  const std::string_view type = names_of(item.kind).delta;
  JsonWriter json = begin_part(type, index, item);
  json.key("delta").string(text);
  if (item.kind == ResponseItem::Kind::kMessage) {
    write_logprobs(logprobs, json.key("logprobs"));
  }
  end(type, json);
}

void ResponseEvents::item_ends(std::int64_t index, const ResponseItem& item) {
  const EventNames names = names_of(item.kind);
  JsonWriter json = begin_part(names.done, index, item);
  json.key(names.whole).string(item.text);
  if (item.kind == ResponseItem::Kind::kMessage) {
    write_logprobs(item.logprobs, json.key("logprobs"));
  } else if (item.kind == ResponseItem::Kind::kCall) {
    json.key("name").string(item.name);
  }
  end(names.done, json);
  if (has_part(item)) {
    constexpr std::string_view kPart = "response.content_part.done";
    JsonWriter part = begin_part(kPart, index, item);
    write_part(item, part.key("part"));
    end(kPart, part);
  }
  constexpr std::string_view kItem = "response.output_item.done";
  JsonWriter done = begin(kItem);
  done.key("output_index").integer(index);
  write_item(item, done.key("item"));
  end(kItem, done);
}

void ResponseEvents::error(const ApiError& error) {
  JsonWriter json = begin("error");
  json.key("code").string_or_null(error.code);
  json.key("message").string(bounded_message(error.message));
  json.key("param").string_or_null(error.param);
  end("error", json);
}

}  // namespace coppice::openai
