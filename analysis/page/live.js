const STATE_MS = 2000, PLOTS_MS = 10000, FIRST_ROWS = 12, ELSEWHERE_SECONDS = 600;
const by = (id) => document.getElementById(id);
const known = {};
let state = null, plots = null, plotsAt = 0, showsAll = false, timer = 0;

function write(element, text) { if (element.textContent !== text) element.textContent = text; }
const fixed = (value, digits) => value == null ? "-" : value.toFixed(digits);
const signed = (value) => value == null ? "-" : (value < 0 ? "" : "+") + value.toFixed(4);
const whole = (value) => value == null ? "-" : Math.round(value).toLocaleString("en-US");
const layersOf = (layers) => layers === 1 ? "1 layer" : layers + " layers";
const groupOf = (group) => [group.arm, layersOf(group.layers), group.part].filter(Boolean).join(", ");

function clock(seconds) {
  const date = new Date(1000 * seconds), isToday = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return isToday ? time : date.toLocaleDateString([], { month: "short", day: "numeric" }) + ", " + time;
}
function duration(seconds) {
  if (seconds < 90) return "about a minute";
  if (seconds < 90 * 60) return "about " + Math.round(seconds / 60) + " min";
  if (seconds < 48 * 3600) return "about " + (seconds / 3600).toFixed(1) + " hours";
  return "about " + (seconds / 86400).toFixed(1) + " days";
}
function statusLine() {
  if (state.phase === "preparing") return "The run is being prepared: data and teachers come before the first trial.";
  const counts = state.counts, now = Date.now() / 1000;
  const done = counts.ended + " of " + counts.planned + " trials have ended, ";
  const isElsewhere = state.phase === "waiting" && now - (state.reported ?? 0) < ELSEWHERE_SECONDS;
  if (state.phase === "waiting" && !isElsewhere) {
    const last = state.reported == null ? "" : " Last report: " + clock(state.reported) + ".";
    return "No driver works on this run: it ended before all trials had ended. " + done + counts.running
      + " have begun, " + counts.left + " are to come." + last + " To continue, start the same study with --resume.";
  }
  if (counts.left === 0 && counts.running === 0) return "All " + counts.ended + " trials have ended. The report is being made, or the search adds trials.";
  return (isElsewhere ? "Trials still report, but their driver is not on this machine. " : "") + done + counts.running
    + " are running, " + counts.left + " are to come.";
}
function endLine() {
  const counts = state.counts, now = Date.now() / 1000;
  if (!counts || (counts.left === 0 && counts.running === 0)) return "";
  if (state.ends == null) return "The end will be estimated after the first reports.";
  if (state.phase === "waiting" && now - state.reported >= ELSEWHERE_SECONDS) return "";
  return "Estimated end, at the pace of the last hour: " + clock(Math.max(state.ends, now)) + ", in " + duration(state.ends - now) + ".";
}

function fill(id, rows) {
  const table = by(id), body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = rows.map(({ cells, className }) => {
    let row = old.get(cells[0]);
    if (!row) {
      row = document.createElement("tr");
      row.dataset.key = cells[0];
      row.setAttribute("role", "row");
      cells.forEach((_, i) => {
        const cell = document.createElement(i ? "td" : "th");
        cell.setAttribute("role", i ? "cell" : "rowheader");
        if (i) cell.dataset.heading = headings[i]; else cell.scope = "row";
        row.append(cell);
      });
    }
    if (row.className !== className) row.className = className;
    cells.forEach((text, i) => write(row.cells[i], text));
    return row;
  });
  if (wanted.length !== body.rows.length || wanted.some((row, i) => body.rows[i] !== row)) body.replaceChildren(...wanted);
}
function fillList(id, lines) {
  const list = by(id);
  by(id + "-section").hidden = lines.length === 0;
  if (list.children.length === lines.length && lines.every((line, i) => list.children[i].textContent === line)) return;
  list.replaceChildren(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })));
}

function showTrials() {
  const arm = by("arm").value, found = state.trials.filter((trial) => !arm || trial.arm === arm);
  const most = showsAll ? found.length : Math.max(FIRST_ROWS, found.filter((trial) => trial.state === "running").length);
  fill("trials", found.slice(0, most).map((trial) => ({
    className: trial.state === "running" ? "running" : "",
    cells: [trial.name, trial.state + (trial.reason && trial.state === "failed" ? ": " + trial.reason : ""),
      trial.step + " of " + trial.steps, fixed(trial.loss, 4), signed(trial.gain), fixed(trial.teacher_weight, 3),
      whole(trial.tokens_per_second)] })));
  const more = by("more");
  more.hidden = found.length <= FIRST_ROWS;
  more.setAttribute("aria-expanded", String(showsAll));
  write(more, showsAll ? "show the first " + FIRST_ROWS : "show all " + found.length);
}
function show() {
  write(by("status"), statusLine());
  write(by("ends"), endLine());
  const problems = by("problems");  /* an alert: written only when it changed, because a screen reader reads it out */
  if ([...problems.children].map((one) => one.textContent).join() !== state.problems.join()) {
    problems.replaceChildren(...state.problems.map((text) =>
      Object.assign(document.createElement("p"), { className: "warning", textContent: text })));
  }
  const isKnown = state.phase !== "preparing";
  by("trials-section").hidden = by("groups-section").hidden = !isKnown;
  if (!isKnown) return;
  document.title = state.counts.ended + " of " + state.counts.planned + ": " + state.title;
  write(by("title"), state.title);
  write(by("question"), state.question);
  write(by("called"), "Run: " + state.called);
  by("bar").max = Math.max(state.counts.planned, 1);
  by("bar").value = state.counts.ended;
  const arms = [...new Set(state.groups.map((group) => group.arm))], select = by("arm");
  for (const arm of arms.slice(select.options.length - 1)) select.append(new Option(arm, arm));
  showTrials();
  fill("groups", state.groups.map((group) => ({ className: group.running ? "running" : "",
    cells: [groupOf(group), ...["planned", "ended", "running", "left", "stopped", "failed"].map((key) => String(group[key])),
      fixed(group.best_loss, 4)] })));
  fillList("stopped", state.stopped.map((stop) => stop.trial + ": at step " + stop.step + " its gain was "
    + signed(stop.gain) + ", below " + signed(stop.cutoff) + ", the limit of its group ("
    + stop.arm + ", " + layersOf(stop.layers) + ") at that step."));
  fillList("restarts", state.restarts.map((one) => clock(one.timestamp) + ", " + one.trial + ": " + one.reason
    + "; restart " + one.restart + ", from the trial's last checkpoint."));
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
function layoutOf(figure, isTail) {
  const layout = structuredClone(figure.layout);
  const changes = { ...theme(), ...(isTail && layout.meta ? layout.meta.tail : {}) };
  for (const [path, value] of Object.entries(changes)) {
    const keys = path.split("."), last = keys.pop();
    keys.reduce((part, key) => part[key] ??= {}, layout)[last] = value;
  }
  return Object.assign(layout, { uirevision: "live" });
}
function plotSection(title) {
  const section = document.createElement("section");
  section.className = "group";
  section.append(Object.assign(document.createElement("h2"), { textContent: title }),
    Object.assign(document.createElement("p"), { className: "note" }), document.createElement("p"),
    Object.assign(document.createElement("div"), { className: "grid" }));
  for (const [view, text] of [["whole", "whole run"], ["tail", "last 40 %"]]) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.dataset.view = view;
    button.setAttribute("aria-pressed", String(view === "whole"));
    section.children[2].append(button);
  }
  return section;
}
function draw() {
  if (!plots || !window.Plotly) return;
  const arm = by("arm").value, chosen = plots.arms.filter((one) => !arm || one.is_control || one.name === arm);
  const shown = new Set(chosen.map((one) => escaped(one.label))), holder = by("plots");
  plots.plots.forEach((plot, i) => {
    const section = holder.children[i] ?? holder.appendChild(plotSection(plot.title));
    const [, note, , grid] = section.children;
    write(note, plot.note);
    const isTail = section.querySelector("[data-view=tail]").getAttribute("aria-pressed") === "true";
    const isNew = grid.children.length < plot.figures.length;  /* new panels change the width of the others */
    while (grid.children.length < plot.figures.length) {
      const cell = grid.appendChild(document.createElement("div"));
      cell.append(document.createElement("h3"), Object.assign(document.createElement("div"), { className: "plot" }));
      cell.lastChild.setAttribute("role", "figure");
    }
    plot.figures.forEach((panel, j) => {
      const [heading, box] = grid.children[j].children;
      write(heading, panel.title);
      box.setAttribute("aria-label", plot.title + ", " + panel.title + ": the last values of the trials are in the table");
      box.style.height = panel.figure.layout.height + "px";
      const data = panel.figure.data.filter((trace) => shown.has(trace.name));
      Plotly.react(box, data, layoutOf(panel.figure, isTail), PLOT_CONFIG).then(() => isNew && Plotly.Plots.resize(box));
    });
  });
}

async function news(path) {
  const answer = await fetch(path, { cache: "no-store", headers: known[path] ? { "If-None-Match": known[path] } : {} });
  if (answer.status === 304) return null;
  if (!answer.ok) throw new Error((await answer.text()).trim());
  known[path] = answer.headers.get("ETag");
  return answer.json();
}
async function poll() {
  clearTimeout(timer);
  if (document.hidden) return;
  try {
    state = await news("state.json") ?? state;
    if (state.phase === "over") return location.reload();
    show();
    if (Date.now() - plotsAt > PLOTS_MS) {
      const drawn = await news("plots.json");
      plotsAt = Date.now();
      if (drawn) { plots = drawn; draw(); }
    }
  } catch (error) {
    const isGone = error instanceof TypeError;
    write(by("status"), isGone ? "The server of this page has ended, so the page no longer changes. For the report of the run: python -m analysis.report RUN" : error.message);
  }
  timer = setTimeout(poll, STATE_MS);
}
by("more").addEventListener("click", () => { showsAll = !showsAll; showTrials(); });
by("arm").addEventListener("change", () => { showTrials(); draw(); });
document.addEventListener("visibilitychange", poll);
poll();
