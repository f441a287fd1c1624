// GET /v1/engine/view: the prefix tree, the sequences and the counters, for the console page.
#include <chrono>
#include <vector>

#include "engine/view.h"
#include "proto/openai/json_writer.h"
#include "server/access/api_keys.h"
#include "server/http/routes/route_table.h"

namespace coppice::server {
namespace {

// Writes what a caller may see of a view: all of it, or, where keys are required, what belongs to the caller's key.
class ViewWriter {
 public:
  ViewWriter(const engine::EngineView& view, bool sees_all, std::string_view key_tenant) : view_(view) {
    for (const std::string& tenant : view.tenants) {
      is_seen_.push_back(sees_all || key_part(tenant) == key_tenant);
    }
  }

  void write(openai::JsonWriter& out) {
    write_nodes(out);
    write_sequences(out);
  }

 private:
  bool is_seen(std::int32_t tenant) const { return is_seen_[static_cast<std::size_t>(tenant)]; }

  void write_nodes(openai::JsonWriter& out) {
    std::int32_t seen = 0;
    out.key("nodes").begin_array();
    for (const engine::ViewNode& node : view_.nodes) {
      numbers_.push_back(is_seen(node.tenant) ? seen++ : engine::kNoViewNode);
      if (is_seen(node.tenant)) {
        out.begin_object().key("parent").integer(number_of(node.parent)).key("pages").integer(node.pages);
        out.key("sharers").integer(node.locks).key("hits").integer(node.hits).end_object();
      }
    }
    out.end_array();
    const bool is_all = static_cast<std::size_t>(seen) == view_.nodes.size();
    out.key("nodes_total").integer(is_all ? view_.nodes_total : seen);
  }

  void write_sequences(openai::JsonWriter& out) const {
    std::int32_t seen = 0;
    out.key("sequences").begin_array();
    for (const engine::ViewSequence& sequence : view_.sequences) {
      if (is_seen(sequence.tenant)) {
        ++seen;
        write_sequence(sequence, out);
      }
    }
    out.end_array();
    const bool is_all = static_cast<std::size_t>(seen) == view_.sequences.size();
    out.key("sequences_total").integer(is_all ? view_.sequences_total : seen);
  }

  void write_sequence(const engine::ViewSequence& sequence, openai::JsonWriter& out) const {
    const char* const running = sequence.output_tokens > 0 ? "decode" : "prefill";
    out.begin_object().key("request").integer(static_cast<std::int64_t>(sequence.request));
    out.key("choice").integer(sequence.choice).key("state").string(sequence.is_running ? running : "waiting");
    out.key("node").integer(number_of(sequence.node)).key("prompt_tokens").integer(sequence.prompt_tokens);
    out.key("cached_tokens").integer(sequence.cached_tokens).key("computed_tokens").integer(sequence.computed_tokens);
    out.key("output_tokens").integer(sequence.output_tokens).key("accepted_drafts").integer(sequence.accepted_drafts);
    out.key("rejected_drafts").integer(sequence.rejected_drafts).end_object();
  }

  std::int32_t number_of(std::int32_t node) const {
    return node == engine::kNoViewNode ? node : numbers_[static_cast<std::size_t>(node)];
  }

  const engine::EngineView& view_;
  std::vector<bool> is_seen_;          // by tenant
  std::vector<std::int32_t> numbers_;  // of the nodes, among those that are seen
};

void write_stats(const engine::EngineStats& stats, openai::JsonWriter& out) {
  const auto count = [&out](std::string_view name, std::uint64_t value) {
    out.key(name).integer(static_cast<std::int64_t>(value));
  };
  const engine::StepTimes& times = stats.times;
  out.key("stats").begin_object();
  out.key("running").integer(stats.running).key("waiting").integer(stats.waiting);
  out.key("pages_total").integer(stats.pages.total).key("pages_free").integer(stats.pages.free);
  out.key("pages_cached").integer(stats.pages.cached);
  count("steps", stats.steps);
  count("step_ns",
        times.plan_ns + times.speculation_ns + times.mask_ns + times.forward_ns + times.sample_ns + times.other_ns);
  count("prompt_tokens_computed", stats.prompt_tokens_computed);
  count("generation_tokens", stats.generation_tokens);
  count("prefix_queries", stats.prefix_queries);
  count("prefix_hits", stats.prefix_hits);
  count("draft_tokens", stats.drafts.tokens);
  count("accepted_tokens", stats.drafts.accepted);
  count("kv_tokens_attended", stats.kv_tokens_attended);
  count("kv_tokens_read", stats.kv_tokens_read);
  out.end_object();
}

// The first answer after a pause may be old, or have no nodes: asking is what makes the engine look at itself.
std::unique_ptr<RequestHandler> view(ServerState& state, const CallPointer& call) {
  const ModelHost& host = *state.host.load();
  const std::shared_ptr<const engine::EngineView> seen = host.engine->view();
  openai::JsonWriter out;
  out.begin_object().key("model").string(host.name).key("page_size").integer(host.engine_limits.page_size);
  out.key("seconds").number(std::chrono::duration<double>(std::chrono::steady_clock::now() - state.started).count());
  write_stats(host.engine->stats(), out);
  if (seen == nullptr) {
    out.key("nodes").null().key("sequences").null();
  } else {
    ViewWriter(*seen, !state.keys.required(), call->tenant).write(out);
  }
  answer(state, *call, out.end_object().take());
  return nullptr;
}

openai::Schema counts(std::initializer_list<const char*> names, std::vector<openai::Schema::Member> more = {}) {
  for (const char* const name : names) {
    more.push_back(openai::required(name, openai::Schema::integer(0)));
  }
  return openai::Schema::object(std::move(more));
}

Operation describe_view(const openai::RequestLimits& /*limits*/) {
  using openai::Schema;
  const Schema number = Schema::integer(engine::kNoViewNode);  // of a node, or of none
  const Schema stats = counts({"running", "waiting", "pages_total", "pages_free", "pages_cached", "steps", "step_ns",
                               "prompt_tokens_computed", "generation_tokens", "prefix_queries", "prefix_hits",
                               "draft_tokens", "accepted_tokens", "kv_tokens_attended", "kv_tokens_read"});
  const Schema node = counts({"pages", "sharers", "hits"}, {openai::required("parent", number)});
  const Schema sequence = counts(
      {"request", "choice", "prompt_tokens", "cached_tokens", "computed_tokens", "output_tokens", "accepted_drafts",
       "rejected_drafts"},
      {openai::required("state", Schema::word({"waiting", "prefill", "decode"})), openai::required("node", number)});
  const auto list = [](const Schema& items) {
    return Schema::one_of("an array or null", {Schema::array(items), Schema::null()});
  };
  return {
      .name = "viewEngine",
      .summary = "The prefix tree, the sequences and the counters, for the console page.",
      .answer = Schema::object(
          {openai::required("model", Schema::string()), openai::required("page_size", Schema::integer(1)),
           openai::required("seconds", Schema::number()), openai::required("stats", stats),
           openai::required("nodes", list(node)), openai::optional("nodes_total", Schema::integer(0)),
           openai::required("sequences", list(sequence)), openai::optional("sequences_total", Schema::integer(0))})};
}

constexpr Route kRoutes[] = {
    {.method = "GET",
     .path = "/v1/engine/view",
     .action = &view,
     .purpose = Purpose::kAdministration,
     .describe = &describe_view},
};

}  // namespace

std::span<const Route> view_routes() {
  return kRoutes;
}

}  // namespace coppice::server
