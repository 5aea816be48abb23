const dark = matchMedia("(prefers-color-scheme: dark)");
const drawnPlots = () => [...document.querySelectorAll(".js-plotly-plot")];
function theme() {
  const style = getComputedStyle(document.documentElement), value = (name) => style.getPropertyValue(name).trim();
  const change = { "font.color": value("--text"), "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
    "modebar.bgcolor": "rgba(0,0,0,0)", "modebar.color": value("--soft"), "modebar.activecolor": value("--link"),
    "hoverlabel.bgcolor": value("--box"), "hoverlabel.bordercolor": value("--rule"), "hoverlabel.font.color": value("--text") };
  for (const axis of ["xaxis", "yaxis"]) {
    change[axis + ".gridcolor"] = value("--rule");
    change[axis + ".linecolor"] = value("--soft");
    change[axis + ".zerolinecolor"] = value(axis === "yaxis" ? "--soft" : "--rule");
  }
  return change;
}
const PLOT_CONFIG = { responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
dark.addEventListener("change", () => drawnPlots().forEach((box) => Plotly.relayout(box, theme())));
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-view]");
  if (!button) return;
  const group = button.closest(".group");
  group.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
  group.querySelectorAll(".plot").forEach((box) => Plotly.relayout(box, box.layout.meta[button.dataset.view]));
});
