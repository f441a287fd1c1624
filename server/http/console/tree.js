// The prefix tree as a picture, from the root at the left, and as a table.

const SVG = "http://www.w3.org/2000/svg";
const ROW = 34; // pixels between two leaves
const COLUMN = 132; // between a node and its children
const BOX = { width: 108, height: 26 };

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) {
    made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Gives every node a column (depth) and a row (leaves one below the other, parents in the middle of theirs).
function layOut(nodes) {
  const children = nodes.map(() => []);
  const roots = [];
  nodes.forEach((node, index) => (node.parent < 0 ? roots : children[node.parent]).push(index));
  const places = new Array(nodes.length);
  let rows = 0;
  let depth = 0;
  // Without recursion: a path may have as many nodes as the view.
  const stack = roots.reverse().map((index) => ({ index, column: 0, entered: false }));
  while (stack.length > 0) {
    const top = stack[stack.length - 1];
    depth = Math.max(depth, top.column);
    if (!top.entered) {
      top.entered = true;
      for (const child of [...children[top.index]].reverse()) {
        stack.push({ index: child, column: top.column + 1, entered: false });
      }
      continue;
    }
    stack.pop();
    const below = children[top.index].map((child) => places[child].row);
    places[top.index] = { column: top.column, row: below.length > 0 ? (below[0] + below[below.length - 1]) / 2 : rows++ };
  }
  return { places, rows, depth };
}

function describe(node, pageSize) {
  const tokens = `${node.pages * pageSize} tokens`;
  if (node.parent < 0) {
    return "root";
  }
  return node.sharers > 1 ? `${tokens} ×${node.sharers}` : tokens;
}

export function drawTree(view) {
  const svg = document.getElementById("tree");
  const { places, rows, depth } = layOut(view.nodes);
  const x = (place) => 4 + place.column * COLUMN;
  const y = (place) => 4 + place.row * ROW;
  const width = 8 + depth * COLUMN + BOX.width;
  const height = 8 + Math.max(rows, 1) * ROW;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  const parts = [];
  view.nodes.forEach((node, index) => {
    const place = places[index];
    if (node.parent >= 0) {
      const from = places[node.parent];
      const middle = BOX.height / 2;
      parts.push(element("path", { class: "edge", d: `M${x(from) + BOX.width} ${y(from) + middle}C${x(place) - 12} ${y(from) + middle} ${x(from) + BOX.width + 12} ${y(place) + middle} ${x(place)} ${y(place) + middle}` }));
    }
    const kind = node.sharers > 1 && node.parent >= 0 ? "shared" : node.sharers > 0 ? "running" : "cached";
    const label = element("text", { x: x(place) + 6, y: y(place) + 17 });
    label.textContent = describe(node, view.page_size);
    parts.push(element("g", { class: kind, "data-sharers": node.sharers },
      element("rect", { x: x(place), y: y(place), width: BOX.width, height: BOX.height, rx: 5 }), label));
  });
  svg.replaceChildren(...parts);

  const shared = view.nodes.filter((node) => node.parent >= 0 && node.sharers > 1);
  const saved = shared.reduce((sum, node) => sum + node.pages * view.page_size * (node.sharers - 1), 0);
  const left = view.nodes_total - view.nodes.length;
  document.getElementById("tree-summary").textContent =
    `${view.nodes_total} nodes, ${shared.length} shared by running sequences: ${saved} tokens of KV cache are read once instead of again in each step.` +
    (left > 0 ? ` ${left} nodes are not shown.` : "");
  document.getElementById("tree-rows").replaceChildren(...view.nodes.map((node, index) => row([
    node.parent < 0 ? `root ${index}` : index, node.parent < 0 ? "" : node.parent, node.pages * view.page_size, node.pages, node.sharers, node.hits])));
}

export function row(cells) {
  const made = document.createElement("tr");
  for (const cell of cells) {
    made.insertCell().textContent = cell;
  }
  return made;
}
