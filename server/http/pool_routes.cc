// Work handed to the pool, and what comes back.
#include "server/http/pool_routes.h"

#include <ctime>
#include <utility>

#include "base/release.h"

namespace coppice::server {
namespace {

DeferredHandler::Finish refuse(ServerState& state, const CallPointer& call, openai::ApiError error) {
  return [&state, call, error = std::move(error)]() -> std::unique_ptr<RequestHandler> {
    answer(state, *call, error);
    return nullptr;
  };
}

using Ready = std::shared_ptr<GenerationHandler::Prepared>;

// On the connection's thread.
std::unique_ptr<RequestHandler> start_ready(ServerState& state, const CallPointer& call, const Ready& ready,
                                            const StartGeneration& start) {
  if (!ready->request.unenforced.empty()) {
    call->exchange.add_header(openai::kUnenforcedHeader, ready->request.unenforced);
  }
  return start(state, *state.host.load(), call, std::move(*ready));
}

// Starts what was prepared when its grammar has been compiled. On the connection's thread.
std::unique_ptr<RequestHandler> compile_and_start(ServerState& state, const CallPointer& call, const Ready& ready,
                                                  const StartGeneration& start) {
  const ModelHost& host = *state.host.load();
  const auto refuse_call = [&state, call](const openai::ApiError& error) { answer(state, *call, error); };
  if (state.work == nullptr) {
    if (const openai::MaybeError error = compile_here(ready->request, host)) {
      refuse_call(*error);
      return nullptr;
    }
    return start_ready(state, call, ready, start);
  }
  return DeferredHandler::wait_for(state, call, refuse_call, [&](DeferredHandler::Bring bring) {
    host.grammars->get(ready->request.order, call->tenant,
                       [&state, call, ready, start, bring = std::move(bring)](OutputGrammars::Grammar grammar) {
                         if (!grammar.ok()) {
                           bring(refuse(state, call, std::move(grammar.error())));
                           return;
                         }
                         bring([&state, call, ready, start, grammar = std::move(grammar.value())] {
                           ready->request.hold_to(grammar);
                           return start_ready(state, call, ready, start);
                         });
                       });
  });
}

void add_header(const openai::IgnoredFields& ignored, RouteCall& call) {
  if (!ignored.empty()) {
    call.exchange.add_header(openai::kIgnoredHeader, ignored.header());
  }
}

// On the pool, as the one below.
DeferredHandler::Finish prepare_generation(ServerState& state, const CallPointer& call, const ParseGeneration& parse,
                                           const JobContext& job) {
  const ModelHost& host = *state.host.load();
  if (openai::MaybeError error = job.hold(parsing_bytes(call->request.body.size(), host.request_limits))) {
    return refuse(state, call, *std::move(error));
  }
  openai::Result<ParsedGeneration> parsed = parse(*call, host);
  drop_body(*call);
  if (!parsed.ok()) {
    return refuse(state, call, std::move(parsed.error()));
  }
  openai::Result<PreparedRequest> prepared = prepare(std::move(parsed.value().request), host, job);
  if (!prepared.ok()) {
    return refuse(state, call, std::move(prepared.error()));
  }
  const auto ready = std::make_shared<GenerationHandler::Prepared>(
      GenerationHandler::Prepared{std::move(parsed.value().writer), std::move(prepared.value())});
  return [&state, call, ready, start = std::move(parsed.value().start)] {
    add_header(ready->request.request.ignored, *call);
    return ready->request.order == nullptr ? start_ready(state, call, ready, start)
                                           : compile_and_start(state, call, ready, start);
  };
}

DeferredHandler::Finish prepare_reading(ServerState& state, const CallPointer& call, PrepareReading prepare,
                                        const JobContext& job) {
  const ModelHost& host = *state.host.load();
  if (openai::MaybeError error = job.hold(parsing_bytes(call->request.body.size(), host.request_limits))) {
    return refuse(state, call, *std::move(error));
  }
  openai::Result<Reading> prepared = prepare(host, call->request.body, job);
  drop_body(*call);
  if (!prepared.ok()) {
    return refuse(state, call, std::move(prepared.error()));
  }
  const auto reading = std::make_shared<Reading>(std::move(prepared.value()));
  return [&state, call, &host, reading] {
    add_header(reading->ignored, *call);
    return ReadingHandler::start(state, host, call, std::move(reading->request), std::move(reading->write));
  };
}

}  // namespace

void drop_body(RouteCall& call) {
  base::release(call.request.body);
  if (call.request.memory != nullptr) {
    (void)call.request.memory->set(MemoryPart::kBody, 0);
  }
}

openai::AnswerIdentity identity_of(const RouteCall& call, const ModelHost& host) {
  return {call.request_id, static_cast<std::int64_t>(std::time(nullptr)), host.name};
}

std::unique_ptr<RequestHandler> defer(ServerState& state, const CallPointer& call, WriteBody write,
                                      std::int64_t here_max) {
  const auto work = [&state, call, write = std::move(write)](const JobContext& job) -> DeferredHandler::Finish {
    const openai::RequestLimits& limits = state.host.load()->request_limits;
    openai::MaybeError no_memory = job.hold(parsing_bytes(call->request.body.size(), limits));
    auto written = std::make_shared<openai::Result<std::string>>(
        no_memory ? openai::Result<std::string>(*std::move(no_memory)) : write(*call, job));
    drop_body(*call);
    return [&state, call, written]() -> std::unique_ptr<RequestHandler> {
      if (written->ok()) {
        answer(state, *call, std::move(written->value()));
      } else {
        answer(state, *call, written->error());
      }
      return nullptr;
    };
  };
  return DeferredHandler::start(state, call, here_max, work,
                                [&state, call](const openai::ApiError& error) { answer(state, *call, error); });
}

std::unique_ptr<RequestHandler> generate(ServerState& state, const CallPointer& call, std::int64_t here_max,
                                         ParseGeneration parse) {
  return DeferredHandler::start(
      state, call, here_max,
      [&state, call, parse = std::move(parse)](const JobContext& job) {
        return prepare_generation(state, call, parse, job);
      },
      [&state, call](const openai::ApiError& error) { answer(state, *call, error); });
}

std::unique_ptr<RequestHandler> read(ServerState& state, const CallPointer& call, std::int64_t here_max,
                                     PrepareReading prepare) {
  return DeferredHandler::start(
      state, call, here_max,
      [&state, call, prepare](const JobContext& job) { return prepare_reading(state, call, prepare, job); },
      [&state, call](const openai::ApiError& error) { answer(state, *call, error); });
}

}  // namespace coppice::server
