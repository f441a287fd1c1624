// The chat: a conversation with one or several answers to each message, streamed, with a way to stop.
import { postStream } from "./api.js";

const byId = (id) => document.getElementById(id);

let conversation = [];
let running = null; // the AbortController of the answer that streams

function addMessage(role, title) {
  const box = document.createElement("div");
  box.className = `message ${role}`;
  const name = document.createElement("strong");
  name.textContent = title;
  const text = document.createElement("span");
  box.append(name, text);
  byId("log").append(box);
  box.scrollIntoView({ block: "nearest" });
  return text;
}

function setRunning(controller) {
  running = controller;
  byId("send").disabled = controller !== null;
  byId("stop").disabled = controller === null;
}

function readDelta(choice) {
  return choice.delta ? (choice.delta.content ?? "") : (choice.text ?? "");
}

// Writes what has come into the answers once a frame: a fast server sends thousands of tokens a second, and laying the
// page out for each would leave no time for anything else.
class FrameWriter {
  constructor(texts) {
    this.nodes = texts.map((element) => element.appendChild(document.createTextNode("")));
    this.pending = texts.map(() => "");
    this.frame = 0;
  }

  add(index, text) {
    this.pending[index] += text;
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.pending.forEach((text, index) => text && this.nodes[index].appendData(text));
    this.pending.fill("");
    byId("log").scrollTop = byId("log").scrollHeight;
  }
}

// Streams one request's answers into `texts`, an element for each.
async function stream(path, body, texts, signal) {
  const writer = new FrameWriter(texts);
  try {
    await postStream(path, { ...body, stream: true }, signal, (event) => {
      for (const choice of event.choices ?? []) {
        writer.add(choice.index, readDelta(choice));
      }
    });
  } finally {
    writer.flush();
  }
}

async function ask(prompt) {
  const count = Number(byId("choices").value);
  const more = JSON.parse(byId("more").value || "{}");
  const numbers = { n: count, max_tokens: Number(byId("tokens").value), temperature: Number(byId("temperature").value), ...more };
  conversation.push({ role: "user", content: prompt });
  addMessage("user", "You").textContent = prompt;
  const texts = Array.from({ length: count }, (_, i) => addMessage("assistant", count > 1 ? `Answer ${i + 1}` : "Answer"));
  setRunning(new AbortController());
  byId("chat-note").textContent = "Answering.";
  try {
    try {
      await stream("/v1/chat/completions", { messages: conversation, ...numbers }, texts, running.signal);
    } catch (error) {
      if (error.status !== 400 || !/chat template/.test(error.message)) {
        throw error;
      }
      await stream("/v1/completions", { prompt, ...numbers }, texts, running.signal); // a model without a chat template
    }
    byId("chat-note").textContent = "";
  } catch (error) {
    byId("chat-note").textContent = error.name === "AbortError" ? "Stopped." : error.message;
  }
  conversation.push({ role: "assistant", content: texts[0].textContent });
  setRunning(null);
}

export function startChat() {
  byId("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const prompt = byId("prompt").value;
    if (prompt.trim() === "" || running !== null) {
      return;
    }
    try {
      JSON.parse(byId("more").value || "{}");
    } catch (error) {
      byId("chat-note").textContent = `More fields: ${error.message}`;
      return;
    }
    byId("prompt").value = "";
    ask(prompt);
  });
  byId("prompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      byId("chat-form").requestSubmit();
    }
  });
  byId("stop").addEventListener("click", () => running?.abort());
  byId("clear").addEventListener("click", () => {
    running?.abort();
    conversation = [];
    byId("log").replaceChildren();
    byId("chat-note").textContent = "";
  });
}
