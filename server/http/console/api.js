// Requests to this server: JSON in, JSON or a stream of server-sent events out.

const KEY = "coppice-api-key";

export function saveKey(key) {
  sessionStorage.setItem(KEY, key);
}

function headers() {
  const key = sessionStorage.getItem(KEY);
  return { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
}

// An error as the server worded it.
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function check(response) {
  if (!response.ok) {
    const body = await response.json().catch(() => ({}));
    throw new ApiError(response.status, body.error?.message ?? `the server answered ${response.status}`);
  }
  return response;
}

export async function getJson(path) {
  return (await check(await fetch(path, { headers: headers() }))).json();
}

// Calls `onEvent` with each event's JSON until the stream ends or `signal` aborts it.
export async function postStream(path, body, signal, onEvent) {
  const response = await check(await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body), signal }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) {
      return;
    }
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") {
        const event = JSON.parse(line.slice(6));
        if (event.error) {
          throw new ApiError(500, event.error.message);
        }
        onEvent(event);
      }
    }
  }
}
