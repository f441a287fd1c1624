// The console: what the server does now, looked at once a second while the page is seen, and a chat.
import { getJson, saveKey } from "./api.js";
import { addSample, startCharts } from "./charts.js";
import { startChat } from "./chat.js";
import { drawTree, row } from "./tree.js";

const PERIOD_MS = 1000; // between two looks
const FIRST_MS = 150; // after the first look, which asks for a view that does not exist yet

const byId = (id) => document.getElementById(id);

function drawSequences(view) {
  const running = view.sequences.filter((sequence) => sequence.state !== "waiting").length;
  byId("sequences-summary").textContent = `${running} running, ${view.sequences_total - running} waiting.`;
  byId("sequence-rows").replaceChildren(...view.sequences.map((sequence) => row([
    sequence.choice > 0 ? `${sequence.request}.${sequence.choice}` : sequence.request, sequence.state, sequence.prompt_tokens, sequence.cached_tokens,
    sequence.computed_tokens, sequence.output_tokens, `${sequence.accepted_drafts} of ${sequence.accepted_drafts + sequence.rejected_drafts}`])));
}

function showError(error) {
  byId("key-form").hidden = error.status !== 401;
  byId("state").textContent =
    error.status === undefined ? "The server does not answer."
    : error.status === 404 ? "This port answers requests; the tree is on the port of --admin-port."
    : error.message;
}

// A hidden page asks for nothing.
async function look() {
  let pause = PERIOD_MS;
  if (document.visibilityState === "visible") {
    try {
      const view = await getJson("/v1/engine/view");
      byId("key-form").hidden = true;
      byId("model").textContent = view.model;
      byId("state").textContent = "serving";
      addSample(view.stats, view.seconds);
      if (view.nodes === null) {
        pause = FIRST_MS;
      } else {
        drawTree(view);
        drawSequences(view);
      }
    } catch (error) {
      showError(error);
    }
  }
  setTimeout(look, pause);
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  saveKey(byId("key").value);
});
startChat();
startCharts();
look();
