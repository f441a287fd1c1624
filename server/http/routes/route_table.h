// The table of HTTP routes, one function per subject.
#pragma once

#include <span>

#include "server/http/route.h"

namespace coppice::server {

std::span<const Route> completion_routes();  // text and chats
std::span<const Route> responses_routes();   // OpenAI's responses, and those that are stored
std::span<const Route> message_routes();     // Anthropic's messages
std::span<const Route> reading_routes();     // embeddings, decisions
std::span<const Route> model_routes();       // which models are served
std::span<const Route> text_routes();        // tokens of a text, text of tokens
std::span<const Route> corpus_routes();      // texts to draft from
std::span<const Route> file_routes();        // clients' files
std::span<const Route> batch_routes();       // files of requests, run in the background
std::span<const Route> fleet_routes();       // what routers in front of several servers ask
std::span<const Route> server_routes();      // health, version, metrics
std::span<const Route> document_routes();    // which routes there are
std::span<const Route> view_routes();        // what the engine does now
std::span<const Route> console_routes();     // the page for people

// All of the above, in the order in which they are tried.
std::span<const Route> all_routes();

}  // namespace coppice::server
