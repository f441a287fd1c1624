// Small charts of what happened between two looks at the server.

const SAMPLES = 120;

// name, unit, value of the interval between the older and the newer counters.
const CHARTS = [
  ["Output", "tokens/s", (now, old, seconds) => (now.generation_tokens - old.generation_tokens) / seconds],
  ["Prompts computed", "tokens/s", (now, old, seconds) => (now.prompt_tokens_computed - old.prompt_tokens_computed) / seconds],
  ["Step", "ms", (now, old) => (now.step_ns - old.step_ns) / Math.max(1, now.steps - old.steps) / 1e6],
  ["KV read once instead of", "times", (now, old) => (now.kv_tokens_attended - old.kv_tokens_attended) / Math.max(1, now.kv_tokens_read - old.kv_tokens_read)],
  ["Drafts accepted", "tokens/s", (now, old, seconds) => (now.accepted_tokens - old.accepted_tokens) / seconds],
  ["KV pages in use", "%", (now) => 100 * (1 - (now.pages_free + now.pages_cached) / Math.max(1, now.pages_total))],
];

let last = null;
const series = CHARTS.map(() => []);
const figures = [];

export function startCharts() {
  for (const [name] of CHARTS) {
    const figure = document.createElement("figure");
    figure.className = "chart";
    figure.innerHTML = '<svg viewBox="0 0 120 40" preserveAspectRatio="none" aria-hidden="true"><path></path></svg><figcaption></figcaption>';
    figure.querySelector("figcaption").textContent = name;
    document.getElementById("charts").append(figure);
    figures.push(figure);
  }
}

function draw(figure, name, unit, values) {
  const most = Math.max(...values, 1e-9);
  const points = values.map((value, i) => `${SAMPLES - values.length + i} ${38 - (36 * value) / most}`);
  figure.querySelector("path").setAttribute("d", `M${points.join("L")}`);
  const value = values[values.length - 1];
  const shown = document.createElement("b");
  shown.textContent = `${value >= 100 ? Math.round(value) : value.toFixed(1)} ${unit}`;
  figure.querySelector("figcaption").replaceChildren(`${name}: `, shown);
}

export function addSample(stats, seconds) {
  const now = { stats, seconds };
  if (last !== null && seconds > last.seconds) {
    CHARTS.forEach(([name, unit, value], i) => {
      series[i].push(Math.max(0, value(stats, last.stats, seconds - last.seconds)));
      series[i].splice(0, series[i].length - SAMPLES);
      draw(figures[i], name, unit, series[i]);
    });
  }
  last = now;
}
